"""Definitions of flags that refuse, while they are parsed, what they cannot mean.

Every number has bounds on both sides, so that nan, inf and slips of the keyboard get a sentence
that names the flag; no text, and no item of a list, is empty.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from splitnet_tf.analysis.budget import Budget
from splitnet_tf.errors import ArgumentError
from splitnet_tf.recipe.augmentation import CROP_FLIP, augmentation

flags.disclaim_key_flags()  # a flag belongs to the program that defines it, for its --help

MAX_EPOCHS = 1_000_000
PICTURES = (".pdf", ".png", ".svg")
MODEL_HELP = (
    "wrn-16-8, resnet-18x2, resnet-20, alexnet, lenet, convnet, mlp, mlp-784-500-300-10, a name "
    "from keras.applications such as ResNet50, or a .keras file."
)


class Number(flags.ArgumentParser):
    """A number of a type, within bounds."""

    def __init__(self, kind: type, low: float, high: float):
        super().__init__()
        self.kind, self.low, self.high = kind, low, high
        self.syntactic_help = (
            f"a {'whole ' if kind is int else ''}number from {low:,.12g} to {high:,.12g}"
        )

    def parse(self, argument):
        try:
            value = self.kind(argument)
        except ValueError:
            value = math.nan
        if not self.low <= value <= self.high:
            raise ValueError(f"it must be {self.syntactic_help}.")
        return value

    def flag_type(self) -> str:
        return self.kind.__name__


class Text(flags.ArgumentParser):
    """A text that is not empty."""

    def parse(self, argument):
        if not argument.strip():
            raise ValueError("it must not be empty; leave the flag out for its default.")
        return argument


class Parsed(Text):
    """A text that a function reads, or refuses with a ValueError."""

    def __init__(self, read: Callable[[str], Any]):
        super().__init__()
        self.read = read

    def parse(self, argument):
        self.read(super().parse(argument))
        return argument


class Augmentation(flags.ArgumentParser):
    """The name of an augmentation, or the switch that it once was."""

    def parse(self, argument):
        return augmentation(argument)


class NewFile(Text):
    """The path of a file to write, with one of the suffixes if there are any."""

    def __init__(self, *suffixes: str):
        super().__init__()
        self.suffixes = suffixes

    def parse(self, argument):
        super().parse(argument)
        if self.suffixes and Path(argument).suffix.lower() not in self.suffixes:
            raise ValueError(f"it must be a file name that ends in {', '.join(self.suffixes)}.")
        if os.path.isdir(argument):
            raise ValueError("it is a folder; name a file in it.")
        return argument


class Amount(flags.ArgumentParser):
    """A budget, see ``analysis.budget``."""

    syntactic_help = "a number above 0, or a share of the whole such as 0.5x"

    def parse(self, argument):
        try:
            return str(Budget.parse(argument))
        except ArgumentError:
            raise ValueError(f"it must be {self.syntactic_help}.") from None


class Items(flags.ListParser):
    """A list with commas, each item of which a parser takes; the items stay texts."""

    def __init__(self, item: flags.ArgumentParser):
        super().__init__()
        self.item = item

    def parse(self, argument):
        items = super().parse(argument)
        for item in items:
            try:
                self.item.parse(item)
            except ValueError as error:
                raise ValueError(f"'{item}' in a list with commas: {error}") from None
        return items


def define_integer(name: str, default: int | None, text: str, low: int, high: int, **more) -> None:
    """A flag that takes a whole number from ``low`` to ``high``."""
    flags.DEFINE(Number(int, low, high), name, default, text, **_plain(more))


def define_float(
    name: str, default: float | None, text: str, low: float, high: float, **more
) -> None:
    """A flag that takes a number from ``low`` to ``high``."""
    flags.DEFINE(Number(float, low, high), name, default, text, **_plain(more))


def define_text(name: str, default: str | None, text: str, **more) -> None:
    """A flag that takes a text, such as the path of something to read."""
    flags.DEFINE(Text(), name, default, text, **_plain(more))


def define_budget(name: str, text: str) -> None:
    """A flag that takes a number or a share of the whole model's; by default none."""
    text += ": a number, or a share of the whole network's such as 0.5x. Defaults to any."
    flags.DEFINE(Amount(), name, None, text, **_plain({}))


def define_parsed(name: str, read: Callable[[str], Any], text: str) -> None:
    """A flag that takes a text that a function reads; by default none."""
    flags.DEFINE(Parsed(read), name, None, text, **_plain({}))


def define_augmentation(name: str, text: str) -> None:
    """A flag that takes the name of an augmentation; ``--name`` and ``--noname`` work as well."""
    flag = flags.Flag(
        Augmentation(), flags.ArgumentSerializer(), name, CROP_FLIP, text, boolean=True
    )
    flags.DEFINE_flag(flag)


def define_new_file(name: str, text: str, *suffixes: str, **more) -> None:
    """A flag that takes the path of a file to write; by default none."""
    flags.DEFINE(NewFile(*suffixes), name, None, text, **_plain(more))


def define_list(
    name: str, default: list[str] | None, text: str, item: flags.ArgumentParser | None = None
) -> None:
    """A flag that takes texts with commas between them, each such as ``item`` takes."""
    flags.DEFINE(
        Items(item or Text()), name, default, text, serializer=flags.CsvListSerializer(",")
    )


def _plain(more: dict) -> dict:
    return {"serializer": flags.ArgumentSerializer(), **more}
