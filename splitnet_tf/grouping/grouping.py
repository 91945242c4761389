"""A grouping: the groups of the channels of every space that is split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from splitnet_tf.errors import GroupingError
from splitnet_tf.grouping.grouping_file import FILE, from_document, to_document
from splitnet_tf.grouping.hierarchy import even_labels
from splitnet_tf.grouping.plan import SplitPlan
from splitnet_tf.grouping.space_groups import SpaceGroups
from splitnet_tf.storage.atomic import write_atomically


@dataclasses.dataclass(frozen=True)
class Grouping:
    """Groups of every space that is split, as learning hands them to the cut.

    Attributes:
      model: str, name of the model it was read from.
      sections: (start, number of groups) of the plan's sections, from the bottom up.
      method: str, how it was decided: ``argmax``, ``balanced`` or the name of a given grouping.
      spaces: groups of each space that carries assignments.
      class_space: str, name of the space of the model's output.
      class_names: names of the classes, or None.

    Raises:
      EmptyGroupError: a group without channels.
      GroupingError: channels that are missing or repeated, or class names of another number.
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

    @classmethod
    def even(cls, plan: SplitPlan, model: str = "model") -> Grouping:
        """Cuts every space of a plan into equal runs of its channels.

        Args:
          plan: ``SplitPlan`` with one space of classes.
          model: str, name of the model.

        >>> net = sn.models.mlp((8,), num_classes=4, input_shape=(6,))
        >>> plan = sn.SplitPlan.from_sections(net, [("logits", 2)])
        >>> sn.Grouping.even(plan).class_groups()
        [['0', '1'], ['2', '3']]
        """
        spaces = tuple(
            SpaceGroups.from_labels(s.name, even_labels(s.size, s.num_groups), s.num_groups)
            for s in plan.spaces
        )
        return cls(model, plan.sections, "even", spaces, plan.class_spaces[0])

    def space(self, name: str) -> SpaceGroups:
        """Returns the groups of the space called ``name``.

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
        """Groups of the classes."""
        return self.space(self.class_space)

    def class_groups(self) -> list[list[str]]:
        """Lists the classes of each group, by name (by index where there are no names)."""
        names = self.class_names or tuple(str(i) for i in range(self.classes.size))
        return [[names[i] for i in members] for members in self.classes.members]

    def to_json(self) -> str:
        """Returns the text of the JSON file, with its checksum."""
        return FILE.to_json(to_document(self))

    def save(self, path: str | Path) -> None:
        """Writes the JSON file, beside and renamed.

        Args:
          path: path of the file.
        """
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> Grouping:
        """Reads and checks a JSON file.

        Raises:
          GroupingError: the file is missing or is not a whole, consistent grouping.
        """
        return FILE.read(path, cls.from_document)

    @classmethod
    def from_json(cls, text: str) -> Grouping:
        """Parses and checks the text of a grouping file.

        Raises:
          GroupingError: with a sentence that names the key at fault.
        """
        return cls.from_document(FILE.parse(text))

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Grouping:
        """Checks what a grouping file holds; raises as ``from_json``."""
        return cls(**from_document(document))
