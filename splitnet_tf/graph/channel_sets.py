"""Channel sets: channels of each space chosen by a method, and the JSON file that holds them.

A grouping is a partition of each space, a selection one set of the channels of each. The value,
its checks and its form in a file serve both.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from splitnet_tf.errors import SplitNetError
from splitnet_tf.storage.json_files import CHECKSUM, checksum, parse_json, read_json

T = TypeVar("T")
MAX_NAME = 200


@dataclasses.dataclass(frozen=True)
class ChannelSets:
    """Sets of the channels of one space.

    A subclass says by ``complete`` whether every channel must be in a set, and which ``error`` its
    checks raise.

    Attributes:
      name: str, name of the space.
      members: for each set its channels, ascending ints; no channel is in two sets.
      size: int, channels of the space; by default as many as there are members.
    """

    name: str
    members: tuple[tuple[int, ...], ...]
    size: int = -1

    complete: ClassVar[bool] = False
    error: ClassVar[type[SplitNetError]] = SplitNetError

    def __post_init__(self):
        if self.size < 0:
            object.__setattr__(self, "size", sum(len(m) for m in self.members))

    def labels(self) -> np.ndarray:
        """Finds the set of each channel, int (size,); -1 for a channel that is in none."""
        labels = np.full(self.size, -1)
        for i, channels in enumerate(self.members):
            labels[list(channels)] = i
        return labels

    def check(self) -> None:
        """Raises ``error`` when channels are repeated, are not of the space, or are missing."""
        found = collections.Counter(c for channels in self.members for c in channels)
        repeated = sorted(c for c, n in found.items() if n > 1)[:5]
        missing = sorted(set(range(self.size)) - set(found))[:5] if self.complete else []
        if repeated or missing or any(not 0 <= c < self.size for c in found):
            raise self.error(
                f"The groups of space '{self.name}' must hold every index from 0 to "
                f"{self.size - 1} once; repeated: {repeated or 'none'}, missing: "
                f"{missing or 'none'}."
                if self.complete
                else f"The channels of space '{self.name}' must be indices from 0 to "
                f"{self.size - 1}, each once; repeated: {repeated or 'none'}."
            )


@dataclasses.dataclass(frozen=True)
class SetsFile:
    """JSON files of one kind of channel sets.

    Attributes:
      noun: str, name of such a file in a sentence, lower case.
      format: str, value of its key ``format``.
      program: str, module that writes it.
      error: class of what is raised for a file that cannot be read.
      version: int, value of its key ``version``.
    """

    noun: str
    format: str
    program: str
    error: type[SplitNetError]
    version: int = 1

    def to_json(self, document: dict[str, Any]) -> str:
        """Returns the text of a file: the document with its format and checksum."""
        document = {"format": self.format, "version": self.version, **document}
        return _compact_json({**document, CHECKSUM: checksum(document)})

    def parse(self, text: str) -> dict[str, Any]:
        """Returns the document of a text; raises ``error`` when it is not JSON or was changed."""
        try:
            return parse_json(text)
        except ValueError as error:
            raise self.error(f"{error}; {self._again}") from None

    def read(self, path: str | Path, build: Callable[[dict[str, Any]], T]) -> T:
        """Makes a value of the document in a file.

        Raises:
          ``error``: the file cannot be read, or ``build`` refuses it; the sentence names the file.
        """
        try:
            return build(read_json(path))
        except FileNotFoundError:
            raise self.error(
                f"{self.noun.capitalize()} {path} does not exist; {self.program} writes one."
            ) from None
        except self.error as error:
            raise self.error(f"{self.noun.capitalize()} {path}: {error}") from None
        except ValueError as error:
            raise self.error(f"{self.noun.capitalize()} {path}: {error}; {self._again}") from None

    @property
    def _again(self) -> str:
        return f"write it again with {self.program}."

    # Checks of what a document holds; each raises ``error`` with the key at fault.

    def check_format(self, document: dict[str, Any]) -> None:
        """Compares the keys ``format`` and ``version``."""
        if document.get("format") != self.format:
            raise self.error(f"not a {self.noun}: its 'format' must be '{self.format}'.")
        if document.get("version") != self.version:
            raise self.error(
                f"'version' is {repr(document.get('version'))[:40]}; this program reads "
                f"{self.version}."
            )

    def typed(self, value: Any, kind: type, key: str) -> Any:
        """Returns a value that must be of a type; a bool is not an int."""
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f"'{key}' must be of type {kind.__name__}; got {str(value)[:40]!r}.")
        return value

    def name(self, value: Any, key: str) -> str:
        """Returns a value that must be a name that fits into a sentence."""
        name = self.typed(value, str, key)
        if len(name) > MAX_NAME or not name.isprintable():
            raise self.error(
                f"'{key}' must be a name of at most {MAX_NAME} letters; got {name[:40]!r}."
            )
        return name

    def items(self, document: dict[str, Any], key: str) -> list:
        """Returns the list under a key."""
        return self.typed(document.get(key), list, key)

    def spaces(
        self, document: dict[str, Any], kind: type[ChannelSets], key: str = "spaces"
    ) -> tuple:
        """Returns the sets of each space, of class ``kind``, under a key."""
        spaces = []
        for entry in self.items(document, key):
            if not isinstance(entry, dict):
                raise self.error(f"each of '{key}' must be an object.")
            name = self.name(entry.get("name"), f"{key}.name")
            members = tuple(
                tuple(sorted(self.typed(c, int, f"members of '{name}'") for c in m))
                for m in (self.typed(m, list, "members") for m in self.items(entry, "members"))
            )
            size, found = (
                self.typed(entry.get("size"), int, f"size of '{name}'"),
                sum(map(len, members)),
            )
            if found > size or (kind.complete and found != size):
                raise self.error(f"space '{name}' says size {size} but its members are {found}.")
            spaces.append(kind(name, members, size))
        if len({s.name for s in spaces}) != len(spaces):
            raise self.error(f"two of '{key}' have the same name.")
        return tuple(spaces)


def space_entry(sets: ChannelSets) -> dict[str, Any]:
    """Sets of one space as a file holds them."""
    return {"name": sets.name, "size": sets.size, "members": [list(m) for m in sets.members]}


def _compact_json(document: dict[str, Any]) -> str:
    """Indented JSON with each item of a list on one line, a space's sets on one each."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and not any(isinstance(item, str) for item in value):
            items = ",\n".join(f"    {_item(item)}" for item in value)
            lines.append(f'  "{key}": [\n{items}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _item(item: Any) -> str:
    if not isinstance(item, dict):
        return json.dumps(item, ensure_ascii=False)
    rows = ",\n".join(f"        {json.dumps(m)}" for m in item["members"])
    head = f'"name": {json.dumps(item["name"])}, "size": {item["size"]}'
    return f'{{{head},\n      "members": [\n{rows}]}}'
