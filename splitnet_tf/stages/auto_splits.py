"""Sections that a budget of parameters or FLOPs asks for, which a run then keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from splitnet_tf.analysis import suggest_cuts
from splitnet_tf.analysis.budget import Budget
from splitnet_tf.models.short_forms import parse_splits
from splitnet_tf.stages.base import Sections, model_apart
from splitnet_tf.stages.run_data import settings_of

AUTO = "auto"  # in place of sections
# Settings that decide which sections a run takes, and the one that keeps what it took.
DECIDING = ("splits", "num_groups", "max_params", "max_flops")
SECTIONS = "sections"


def sections_within(
    name: str,
    num_classes: int,
    input_shape: Sequence[int],
    *,
    num_groups: int = 2,
    max_params: Budget | str | None = None,
    max_flops: Budget | str | None = None,
    multi_label: bool = False,
    outputs: Mapping[str, bool] | None = None,
) -> Sections:
    """The section of the shallowest cut that keeps a budget, see ``Suggestions.within``.

    Args:
      name: a model by name, or a ``.keras`` file, see ``choose_model``.
      num_classes, input_shape, multi_label: those of the data.
      outputs: of several outputs, those that classify, see ``choose_model``.
      num_groups: int, groups of the cut. Defaults to 2.
      max_params, max_flops: a number, or a share of the model's such as ``"0.5x"``.

    Raises:
      ArgumentError: no cut keeps the budget.
    """
    model = model_apart(name, num_classes, input_shape, multi_label, outputs)
    return suggest_cuts(model, num_groups).within(max_params, max_flops).sections


def kept_sections(folder: str | Path, settings: Mapping[str, Any]) -> Sections | None:
    """The sections that a run took for the same budget; None where none has.

    Args:
      folder: run folder; it need not be there.
      settings: of the run that may go on.
    """
    config = settings_of(Path(folder))
    if SECTIONS not in config or any(config.get(n) != settings[n] for n in DECIDING):
        return None
    return parse_splits(str(config[SECTIONS]), "")


def as_text(sections: Sections) -> str:
    """Sections as ``parse_splits`` reads them."""
    return ",".join(f"{start}:{groups}" for start, groups in sections)
