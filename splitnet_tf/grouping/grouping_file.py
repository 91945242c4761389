"""JSON file of a grouping: readable, exact, checked when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splitnet_tf.errors import GroupingError
from splitnet_tf.graph.channel_sets import SetsFile, space_entry
from splitnet_tf.grouping.space_groups import SpaceGroups

if TYPE_CHECKING:
    from splitnet_tf.grouping.grouping import Grouping

FILE = SetsFile("grouping file", "splitnet_tf.grouping", "splitnet_tf.cli.group", GroupingError)


def to_document(grouping: Grouping) -> dict[str, Any]:
    """Returns the document of a grouping, without its format and checksum."""
    names = grouping.class_names
    return {
        "model": grouping.model,
        "method": grouping.method,
        "sections": [list(s) for s in grouping.sections],
        "class_space": grouping.class_space,
        "class_names": list(names) if names is not None else None,
        "class_groups": grouping.class_groups(),
        "spaces": [space_entry(s) for s in grouping.spaces],
    }


def from_document(document: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the ``Grouping`` that a document holds.

    Raises:
      GroupingError: with a sentence that names the key at fault.
    """
    FILE.check_format(document)
    names = document.get("class_names")
    if names is not None:
        names = tuple(
            FILE.typed(n, str, "class_names") for n in FILE.items(document, "class_names")
        )
    spaces = FILE.spaces(document, SpaceGroups)
    class_space = FILE.name(document.get("class_space"), "class_space")
    if class_space not in {s.name for s in spaces}:
        raise GroupingError(f"'class_space': 'spaces' has no space '{class_space}'.")
    return {
        "model": FILE.typed(document.get("model"), str, "model"),
        "sections": _sections(document),
        "method": FILE.typed(document.get("method"), str, "method"),
        "spaces": spaces,
        "class_space": class_space,
        "class_names": names,
    }


def _sections(document: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    sections = []
    for section in FILE.items(document, "sections"):
        if not isinstance(section, list) or len(section) != 2:
            raise GroupingError("each of 'sections' must be [layer, number of groups].")
        start = FILE.name(section[0], "sections")
        if FILE.typed(section[1], int, "sections") < 1:
            raise GroupingError(f"'sections': '{start}' must have one group or more.")
        sections.append((start, section[1]))
    return tuple(sections)
