"""Flags page: writes the flags of every program as one page of Markdown, from their definitions.

python -m tests.flags_page docs/flags.md
"""

from __future__ import annotations

import importlib
import re
import sys

from absl import flags

from splitnet_tf.cli.define import Augmentation, Items, Number
from splitnet_tf.cli.program_flags import flags_of
from splitnet_tf.recipe.augmentation import AUGMENTATIONS
from splitnet_tf.storage.atomic import write_atomically

PROGRAMS = (
    *("group", "split", "sparsify", "shrink", "divide", "evaluate", "cost", "export"),
    *("report", "compare", "search", "benchmark", "worker"),
)
INTRODUCTION = """# Flags

Written by `python -m tests.flags_page docs/flags.md` from the definitions; `--help` of
each program says the same. Flags of the 2017 code keep their names where the meaning is the same.
`--restart` turns a switch on; `--norestart` or `--restart=false` turns it off. `--flagfile=FILE`
reads flags from a file."""


def flags_page() -> str:
    """The page."""
    return "\n\n".join([INTRODUCTION, *map(_section, PROGRAMS)]) + "\n"


def _section(program: str) -> str:
    purpose = importlib.import_module(f"splitnet_tf.cli.{program}").__doc__.partition("\n\n")[0]
    found = {id(flag): flag for flag in flags_of(program).values()}  # a short name is no flag more
    rows = [
        "| flag | default | values | meaning |",
        "|---|---|---|---|",
        *map(_row, found.values()),
    ]
    return f"## splitnet-{program}\n\n{purpose}\n\n" + "\n".join(rows)


def _row(flag: flags.Flag) -> str:
    name = f"`--{flag.name}`" + (f", `-{flag.short_name}`" if flag.short_name else "")
    meaning = re.sub(r"^<\S+>: ", "", " ".join(flag.help.split()))  # absl's list of the values
    cells = (name, _default(flag), _values(flag.parser), meaning.replace("<", "&lt;"))
    return f"| {' | '.join(cells)} |"


def _default(flag: flags.Flag) -> str:
    value = flag.default
    if isinstance(value, list):
        value = ",".join(value) or None
    if value is None:
        return "required" if flag.validators else ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(parser: flags.ArgumentParser) -> str:
    """Values that a parser takes, in words."""
    if isinstance(parser, Number):
        return f"{parser.low:,.12g} to {parser.high:,.12g}{', whole' * (parser.kind is int)}"
    if isinstance(parser, flags.EnumParser):
        return ", ".join(f"`{value}`" for value in parser.enum_values)
    if isinstance(parser, Augmentation):
        return ", ".join(f"`{value}`" for value in AUGMENTATIONS)
    if isinstance(parser, flags.BooleanParser):
        return "switch"
    if isinstance(parser, Items):
        item = _values(parser.item)
        return "list with commas" + ("" if item == "text" else f", each {item}")
    return "text"


if __name__ == "__main__":
    write_atomically(sys.argv[1], flags_page().encode())
