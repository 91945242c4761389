"""Cells and parts that the tables of docs/results.md share."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from experiments.recipe import PHASES
from experiments.row import FAILURES


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: Sequence[float | None], scale: float = 100.0, digits: int = 2) -> str:
    """Mean and standard deviation of the sample, as text."""
    found = [scale * v for v in values if v is not None]
    if not found:
        return "-"
    text = f"{statistics.fmean(found):.{digits}f}"
    return text + (f" ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else "")


def chosen(rows: list[dict], split: str) -> list[dict]:
    """The rows of a split by the recipe as it is, one a seed."""
    return [r for r in rows if (r["row"]["split"], r["row"]["variant"]) == (split, "")]


STAGES = ("before", "before_recalibrated", "after_cut", "after_cut_recalibrated")
STAGE_NAMES = ("before the cut", "re-estimated", "after the cut", "re-estimated")


def stages(found: list[dict], error: str = "error") -> list[str]:
    """The error at the end and at each of ``STAGES``: of the test, or ``valid_error``."""
    whole = [r for r in found if "error" in r]
    names = (error, *(f"{error}_{stage}" for stage in STAGES))
    return [spread([r.get(name) for r in whole]) for name in names]


def count_seeds(found: list[dict]) -> str:
    """Number of seeds, and how many of them failed."""
    failures = [(kind, sum(kind in r for r in found)) for kind in FAILURES]
    return ", ".join([str(len(found)), *(f"{n} {kind}" for kind, n in failures if n)])


MOVED = ("classes that moved (%)", "features (%)")


def moves(found: list[dict]) -> list[str]:
    """Shares of the classes and of the features that left the group of the start."""
    moved = [r["moved"] for r in found if "moved" in r]
    return [spread([m[kind] for m in moved], 100, 0) for kind in ("classes", "features")]


SIZES = ("params (M)", "GFLOPs")


def sizes(found: list[dict]) -> list[str]:
    """Parameters and FLOPs."""
    return [spread([r.get(n) for r in found], s, 4) for n, s in (("params", 1e-6), ("flops", 1e-9))]


def setup(rows: list[dict]) -> str:
    """The network, data, epochs, seeds and machine of rows, as a sentence."""
    scale, recipe = rows[0]["row"]["scale"], rows[0]["recipe"]
    plain, group, finetune, baseline = (f"{recipe[name]['epochs']:g}" for name in PHASES)
    return (
        f"WRN-{recipe['depth']}-{recipe['width']} on {rows[0]['data']}, batch "
        f"{recipe['batch_size']}; epochs: plain {plain}, group {group}, finetune {finetune} "
        f"(baseline {plain} + {baseline}); seeds {', '.join(map(str, seeds_of(rows)))}; "
        f"{places_of(rows)}. All settings: `experiments/recipe.py`, scale `{scale}`."
    )


def seeds_of(rows: list[dict]) -> list[int]:
    """The seeds of rows, each once."""
    return sorted({r["row"]["seed"] for r in rows})


def places_of(rows: list[dict]) -> str:
    """Backend, device and precision of rows."""
    return "; ".join(sorted({f"{r['backend']} on {r['device']}, {r['precision']}" for r in rows}))


def command_block(program: str, rows: list[dict], flags: Mapping[str, Iterable[str]] = {}) -> str:
    """The command that makes rows again.

    Args:
      program: name of a program of ``experiments``.
      rows: rows of one scale, backend and precision.
      flags: the program's flags that choose rows, and their values.
    """
    backend, precision = rows[0]["backend"], rows[0]["precision"]
    words = [] if backend == "tensorflow" else [f"KERAS_BACKEND={backend}"]
    words.append(f"python -m experiments.{program} --scale={rows[0]['row']['scale']}")
    words += ["--bfloat16"] if precision == "mixed_bfloat16" else []
    words += ["--data=cifar100.npz"] if backend != "tensorflow" else []
    for name, values in {"seeds": seeds_of(rows), **flags}.items():
        words.append(f"--{name}={','.join(map(str, values))}")
    return shell_block(" ".join(words))


def shell_block(*parts: str) -> str:
    """A command in Markdown: parts on lines of their own, which are wrapped between words."""
    wrapper = textwrap.TextWrapper(98, break_long_words=False, break_on_hyphens=False)
    lines = []
    for part in parts:
        wrapper.initial_indent, wrapper.subsequent_indent = "  " if lines else "", "  "
        lines += wrapper.wrap(part)
    return "```sh\n" + " \\\n".join(lines) + "\n```"


def among(rows: list[dict], field: str, known: Iterable[str]) -> list[str]:
    """The values among ``known`` that rows have in a field, such as ``split``."""
    found = {r["row"][field] for r in rows}
    return [value for value in known if value in found]


def by_place(rows: list[dict]) -> list[list[dict]]:
    """Rows that may be averaged: of one backend and one precision."""
    found: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        found.setdefault((row["backend"], row["precision"]), []).append(row)
    return [found[place] for place in sorted(found)]
