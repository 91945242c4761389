"""A grouping: which channels of every space belong to which group. A readable JSON file."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from splitnet_tf.errors import EmptyGroupError, GroupingError
from splitnet_tf.storage.atomic import write_atomically
from splitnet_tf.storage.json_files import CHECKSUM, checksum, parse_json, read_json

FORMAT = "splitnet_tf.grouping"
VERSION = 1
T = TypeVar("T")
MAX_NAME = 200
AGAIN = "write it again with splitnet_tf.cli.group."


@dataclasses.dataclass(frozen=True)
class SpaceGroups:
    """The groups of one space.

    Attributes:
      name: of the space.
      members: for each group, its channels, ascending. Every channel is in one group, no group
        is empty.
    """

    name: str
    members: tuple[tuple[int, ...], ...]

    @property
    def num_groups(self) -> int:
        return len(self.members)

    @property
    def size(self) -> int:
        return sum(len(m) for m in self.members)

    def labels(self) -> np.ndarray:
        """(size,) the group of each channel."""
        labels = np.empty(self.size, int)
        for g, channels in enumerate(self.members):
            labels[list(channels)] = g
        return labels

    @classmethod
    def from_labels(cls, name: str, labels: np.ndarray, num_groups: int) -> SpaceGroups:
        """From the group of each channel.

        Raises:
          GroupingError: a label that is none of the groups.
        """
        labels = np.asarray(labels)
        if labels.ndim != 1 or not np.isin(labels, np.arange(num_groups)).all():
            raise GroupingError(
                f"Space '{name}' takes a label from 0 to {num_groups - 1} for each channel; got "
                f"shape {labels.shape} with {np.unique(labels)[:8].tolist()}."
            )
        return cls(
            name,
            tuple(tuple(np.flatnonzero(labels == g).tolist()) for g in range(num_groups)),
        )

    def check(self) -> None:
        """Looks whether every channel is in one group.

        Raises:
          EmptyGroupError: a group has none.
          GroupingError: channels are missing or repeated.
        """
        for g, channels in enumerate(self.members):
            if not channels:
                raise EmptyGroupError(
                    f"Group {g} of space '{self.name}' is empty (sizes "
                    f"{'/'.join(str(len(m)) for m in self.members)})"
                )
        found = sorted(c for channels in self.members for c in channels)
        expected = list(range(len(found)))
        if found != expected:
            repeated = sorted(c for c, n in collections.Counter(found).items() if n > 1)[:5]
            missing = sorted(set(expected) - set(found))[:5]
            raise GroupingError(
                f"The groups of space '{self.name}' must hold every index from 0 to "
                f"{len(found) - 1} once; repeated: {repeated or 'none'}, missing: "
                f"{missing or 'none'}."
            )


@dataclasses.dataclass(frozen=True)
class Grouping:
    """What joins the two halves of the program: the groups of every space that is split.

    Attributes:
      model: name of the model it was read from.
      sections: of the plan.
      method: how it was decided: ``argmax``, ``balanced`` or the name of a given grouping.
      spaces: groups of each space that carries assignments.
      class_space: the space of the model's output.
      class_names: names of the classes, or None.
    """

    model: str
    sections: tuple[tuple[str, int], ...]
    method: str
    spaces: tuple[SpaceGroups, ...]
    class_space: str
    class_names: tuple[str, ...] | None = None

    def __post_init__(self):
        for space in self.spaces:
            space.check()
        if self.class_names is not None and len(self.class_names) != self.classes.size:
            raise GroupingError(
                f"The grouping has {self.classes.size} classes but {len(self.class_names)} class "
                "names; give one name a class."
            )

    def space(self, name: str) -> SpaceGroups:
        """The groups of the space called ``name``.

        Raises:
          GroupingError: there is no such space.
        """
        for space in self.spaces:
            if space.name == name:
                return space
        raise GroupingError(
            f"The grouping has no space '{name}'; it has {', '.join(s.name for s in self.spaces)}."
        )

    @property
    def classes(self) -> SpaceGroups:
        """The groups of the classes."""
        return self.space(self.class_space)

    def class_groups(self) -> list[list[str]]:
        """The classes of each group, by name (by index where there are no names)."""
        names = self.class_names or tuple(str(i) for i in range(self.classes.size))
        return [[names[i] for i in members] for members in self.classes.members]

    def to_json(self) -> str:
        """The text of the JSON file, with its checksum."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "method": self.method,
            "sections": [list(s) for s in self.sections],
            "class_space": self.class_space,
            "class_names": list(self.class_names) if self.class_names is not None else None,
            "class_groups": self.class_groups(),
            "spaces": [
                {"name": s.name, "size": s.size, "members": [list(m) for m in s.members]}
                for s in self.spaces
            ],
        }
        return _compact_json({**document, CHECKSUM: checksum(document)})

    def save(self, path: str | Path) -> None:
        """Writes the JSON file, beside and renamed."""
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Grouping:
        """Reads and checks a JSON file.

        Raises:
          GroupingError: the file is missing or is not a whole, consistent grouping.
        """
        return in_file(path, cls.from_document)

    @classmethod
    def from_json(cls, text: str) -> Grouping:
        """Parses and checks the text of a grouping file.

        Raises:
          GroupingError: with a sentence that names the key at fault.
        """
        try:
            document = parse_json(text)
        except ValueError as error:
            raise GroupingError(f"{error}; {AGAIN}") from None
        return cls.from_document(document)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Grouping:
        """Checks what a grouping file holds; raises as ``from_json``."""
        if document.get("format") != FORMAT:
            raise GroupingError(f"not a grouping file: its 'format' must be '{FORMAT}'.")
        if document.get("version") != VERSION:
            raise GroupingError(
                f"'version' is {repr(document.get('version'))[:40]}; this program reads {VERSION}."
            )
        names = document.get("class_names")
        if names is not None:
            names = tuple(_typed(n, str, "class_names") for n in _list(document, "class_names"))
        spaces = []
        for entry in _list(document, "spaces"):
            if not isinstance(entry, dict):
                raise GroupingError("each of 'spaces' must be an object.")
            name = _name(entry.get("name"), "spaces.name")
            members = tuple(
                tuple(_typed(c, int, f"members of '{name}'") for c in _typed(m, list, "members"))
                for m in _list(entry, "members")
            )
            space = SpaceGroups(name, tuple(tuple(sorted(m)) for m in members))
            if space.size != _typed(entry.get("size"), int, f"size of '{name}'"):
                raise GroupingError(
                    f"space '{name}' says size {entry['size']} but its members are {space.size}."
                )
            spaces.append(space)
        if len({s.name for s in spaces}) != len(spaces):
            raise GroupingError("two of 'spaces' have the same name.")
        class_space = _name(document.get("class_space"), "class_space")
        if class_space not in {s.name for s in spaces}:
            raise GroupingError(f"'class_space': 'spaces' has no space '{class_space}'.")
        sections = []
        for section in _list(document, "sections"):
            if not isinstance(section, list) or len(section) != 2:
                raise GroupingError("each of 'sections' must be [layer, number of groups].")
            sections.append((_name(section[0], "sections"), _typed(section[1], int, "sections")))
            if section[1] < 1:
                raise GroupingError(f"'sections': '{section[0]}' must have one group or more.")
        return cls(
            _typed(document.get("model"), str, "model"),
            tuple(sections),
            _typed(document.get("method"), str, "method"),
            tuple(spaces),
            class_space,
            names,
        )


def in_file(path: str | Path, read: Callable[[dict[str, Any]], T]) -> T:
    """What ``read`` makes of the document in a file.

    Raises:
      GroupingError: the file cannot be read, or ``read`` refuses it; the sentence names the file.
    """
    try:
        return read(read_json(path))
    except FileNotFoundError:
        raise GroupingError(
            f"Grouping file {path} does not exist; splitnet_tf.cli.group writes one."
        ) from None
    except GroupingError as error:
        raise GroupingError(f"Grouping file {path}: {error}") from None
    except ValueError as error:
        raise GroupingError(f"Grouping file {path}: {error}; {AGAIN}") from None


def _typed(value: Any, kind: type, key: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GroupingError(f"'{key}' must be of type {kind.__name__}; got {str(value)[:40]!r}.")
    return value


def _name(value: Any, key: str) -> str:
    """A name that fits into a sentence."""
    name = _typed(value, str, key)
    if len(name) > MAX_NAME or not name.isprintable():
        raise GroupingError(
            f"'{key}' must be a name of at most {MAX_NAME} letters; got {name[:40]!r}."
        )
    return name


def _list(document: dict, key: str) -> list:
    return _typed(document.get(key), list, key)


def _compact_json(document: dict) -> str:
    """Indented JSON with the innermost lists on one line each."""
    lines = []
    for key, value in document.items():
        if key in ("spaces", "class_groups", "sections"):
            items = []
            for item in value:
                if isinstance(item, dict):
                    rows = ",\n".join(f"        {json.dumps(m)}" for m in item["members"])
                    head = f'"name": {json.dumps(item["name"])}, "size": {item["size"]}'
                    items.append(f'    {{{head},\n      "members": [\n{rows}]}}')
                else:
                    items.append(f"    {json.dumps(item, ensure_ascii=False)}")
            lines.append(f'  "{key}": [\n' + ",\n".join(items) + "\n  ]")
        else:
            lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
