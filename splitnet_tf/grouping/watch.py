"""Watch of a grouped model while it trains: how far its groupings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from splitnet_tf.grouping.blocks import off_block_share
from splitnet_tf.grouping.split_losses import SplitLosses

# A group is emptying when it holds less than this of an even share.
EMPTYING = 0.25
# A channel is decided when its largest p is above DECIDED; the mean over a space should be above it
# after the share UNDECIDED_AFTER of the steps.
DECIDED = 0.9
UNDECIDED_AFTER = 0.8


class GroupingWatch:
    """Reads how far the groupings of a grouped model are.

    Args:
      losses: ``SplitLosses`` of the model.
      max_steps: int, length of the run. Defaults to None, not known.
    """

    def __init__(self, losses: SplitLosses, max_steps: int | None = None):
        self._losses = losses
        self._max_steps = max_steps
        self._warned: set[tuple] = set()

    def memberships(self) -> list[np.ndarray]:
        """Reads p of every space, (G, size)."""
        return [keras.ops.convert_to_numpy(a.p()) for a in self._losses.assignments()]

    def labels(self) -> dict[str, np.ndarray]:
        """Reads the group of the largest p of each member of every space, by its name."""
        spaces = zip(self._losses.assignments(), self.memberships(), strict=True)
        return {a.space: p.argmax(axis=0) for a, p in spaces}

    def off_block_shares(self) -> dict[str, float]:
        """Measures the share of squared weights outside the blocks, of every split kernel."""
        labels = {
            id(a): p.argmax(axis=0)
            for a, p in zip(self._losses.assignments(), self.memberships(), strict=True)
        }
        return {
            layer.name: off_block_share(
                layer.effective(), layer.in_groups(labels), layer.out_groups(labels)
            )
            for layer in self._losses.grouped_layers()
        }

    def off_block_energy(self) -> float:
        """Returns the mean of ``off_block_shares``."""
        return float(np.mean(list(self.off_block_shares().values())))

    def scalars(self) -> dict[str, float]:
        """Reads the unweighted losses, off-block energy, share decided and state of each space."""
        values = {f"split/{name}": float(v) for name, v in self._losses.terms().items()}
        shares = self.off_block_shares()
        values["split/off_block_energy"] = float(np.mean(list(shares.values())))
        values.update({f"off_block/{name}": share for name, share in shares.items()})
        memberships = self.memberships()
        decided = np.concatenate([p.max(axis=0) > DECIDED for p in memberships])
        values["split/decided"] = float(np.mean(decided))
        for assignment, p in zip(self._losses.assignments(), memberships, strict=True):
            name = assignment.space
            values[f"largest_p/{name}"] = float(p.max(axis=0).mean())
            sizes = np.bincount(p.argmax(axis=0), minlength=len(p))
            for group, size in enumerate(sizes):
                values[f"group_size/{name}/{group}"] = int(size)
        return values

    def warnings(self, step: int) -> list[str]:
        """Says what is going wrong, with a remedy; each fault once."""
        found = {}
        spaces = [
            (a.space, p)
            for a, p in zip(self._losses.assignments(), self.memberships(), strict=True)
        ]
        for name, p in spaces:
            sizes = np.bincount(p.argmax(axis=0), minlength=len(p))
            for g, share in enumerate(p.mean(axis=1) * len(p)):
                if sizes[g] == 0 or share < EMPTYING:
                    state = "empty" if sizes[g] == 0 else "emptying"
                    found[name, g, state] = (
                        f"Group {g} of {name} is {state} ({sizes[g]} of {p.shape[1]} channels): "
                        "raise `gamma3`."
                    )
        if self._max_steps and step >= UNDECIDED_AFTER * self._max_steps:
            for name, p in spaces:
                if p.max(axis=0).mean() < DECIDED:
                    found[name, "undecided"] = (
                        f"The assignments of {name} are undecided (mean largest p "
                        f"{p.max(axis=0).mean():.2f}) after {100 * UNDECIDED_AFTER:.0f}% of the "
                        "steps: raise `pace`."
                    )
        new = [sentence for key, sentence in found.items() if key not in self._warned]
        self._warned.update(found)
        return new


def moved(
    start: Mapping[str, Sequence[int]], now: Mapping[str, np.ndarray], class_space: str
) -> dict[str, float]:
    """Computes the shares of the classes, and of the features of all other spaces, that moved.

    Args:
      start, now: group of each member of each space.
      class_space: name of the space of the classes.

    Returns:
      ``classes`` and ``features``, from 0 to 1.

    >>> start, now = {"x": [0, 1, 0, 1], "logits": [0, 1]}, {"x": [0, 0, 0, 1], "logits": [0, 1]}
    >>> moved(start, {name: np.array(labels) for name, labels in now.items()}, "logits")
    {'classes': 0.0, 'features': 0.25}
    """
    changed = {name: np.asarray(start[name]) != labels for name, labels in now.items()}
    classes = changed.pop(class_space)
    features = np.concatenate([*changed.values(), np.zeros(0, bool)])
    return {"classes": float(classes.mean()), "features": float(features.mean())}


def grouping_status(values: Mapping[str, float]) -> str:
    """Says in a few words how far the groups are; ``values`` are ``GroupingWatch.scalars``."""
    sizes = {}
    for key, value in values.items():
        if key.startswith("group_size/"):
            sizes.setdefault(key.rpartition("/")[0], []).append(value)
    classes = list(sizes.values())[-1]  # of the last space
    return (
        f"groups {100 * values['split/decided']:.0f}% decided, class sizes "
        f"{'/'.join(str(s) for s in classes)}, "
        f"{100 * values['split/off_block_energy']:.1f}% off-block"
    )
