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
    """

    splits: str | None
    params: float | None = None
    flops: float | None = None


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
            PaperRow(None, 11.0, 3.10),
            PaperRow("1-1-4", 10.96, 3.10),
            PaperRow("1-2-2", 7.42),
            PaperRow("2-2-2", 5.90),
            PaperRow("2-4-4", 4.12),
        ),
        "The paper's three deepest splits have learned, unequal groups, which cost more.",
    ),
    "3": PaperTable(
        "Table 3: AlexNet on ILSVRC 2012",
        "alexnet",
        (
            PaperRow(None, 62.37, 2.278),
            PaperRow("1-1-3", 59.64, 2.273),
            PaperRow("1-2-5", 50.70, 2.256),
            PaperRow("2-4-8", 27.34, 2.209),
            PaperRow("conv4:2", 31.96, 1.847),
        ),
        "The paper rounds, and its learned groups are not exactly equal.",
    ),
    "4": PaperTable(
        "Table 4: ResNet-18x2 on ILSVRC 2012",
        "resnet-18x2",
        (PaperRow(None), PaperRow("1-1-3"), PaperRow("1-2-2"), PaperRow("2-2-2")),
        "The figures that the paper prints are not repeated here.",
    ),
}
