"""Rows of the paper's Tables 2, 3 and 4, and the costs that it prints for them."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """One split.

    Attributes:
      splits: str, short form of its sections; None for no split.
      params: float, published parameters in millions; None where they are not known here.
      flops: float, published FLOPs in billions; None where they are not known here.
      error, random_error: floats, published test errors in percent, with learned and with random
        groups; None where they are not known here.
    """

    splits: str | None
    params: float | None = None
    flops: float | None = None
    error: float | None = None
    random_error: float | None = None


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
      title: str, title of the table.
      model: str, short name of its model.
      rows: ``PaperRow`` of each of its splits.
      note: str, remark for who compares.
    """

    title: str
    model: str
    rows: tuple[PaperRow, ...]
    note: str


TABLES = {
    "2": PaperTable(
        "Table 2: WRN-16-8 on CIFAR-100",
        "wrn-16-8",
        (
            PaperRow(None, 11.0, 3.10, 24.28),
            PaperRow("1-1-4", 10.96, 3.10, 24.26, 24.30),
            PaperRow("1-2-2", 7.42, None, 23.96, 25.46),
            PaperRow("2-2-2", 5.90, None, 24.62, 27.12),
            PaperRow("2-4-4", 4.12, None, 24.80, 26.78),
        ),
        "The paper's three deepest splits have learned, unequal groups, which cost more.",
    ),
    "3": PaperTable(
        "Table 3: AlexNet on ILSVRC 2012",
        "alexnet",
        (
            PaperRow(None, 62.37, 2.278, 41.72),
            PaperRow("1-1-3", 59.64, 2.273, 42.07, 42.20),
            PaperRow("1-2-5", 50.69, 2.256, 42.21, 43.20),
            PaperRow("2-4-8", 27.34, 2.209, 43.02, 43.35),
            PaperRow("conv4:2", 31.96, 1.847, 44.60, 44.99),
        ),
        "The paper rounds, and its learned groups are not exactly equal.",
    ),
    "4": PaperTable(
        "Table 4: ResNet-18x2 on ILSVRC 2012",
        "resnet-18x2",
        (
            PaperRow(None, 45.67, 14.04, 25.58),
            PaperRow("1-1-3", 44.99, 14.04, 24.90, 25.86),
            PaperRow("1-2-2", 28.39, 12.39, 25.48, 26.41),
            PaperRow("2-2-2", 24.21, 10.75, 26.45, 28.61),
        ),
        "The paper rounds, and its learned groups are not exactly equal.",
    ),
}
