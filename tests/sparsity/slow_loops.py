"""Groups, norms and steps by loops over single weights: the references of the tests."""

import itertools

import numpy as np


def members(groups) -> list[list]:
    """The weights of each group, sorted: (path, index) each; one in two parts comes twice."""
    found = [[] for _ in range(groups.count)]
    for part in groups.parts:
        for place in itertools.product(*(range(n) for n in part.shape)):
            group = int(part.groups[tuple(place[a] for a in part.axes)])
            if group >= 0:
                found[group].append((part.path, place))
    return [sorted(group) for group in found]


def norms(groups, values) -> np.ndarray:
    return np.array(
        [
            np.sqrt(sum(float(values[path][place]) ** 2 for path, place in group))
            for group in members(groups)
        ]
    )


def proximal(groups, values, amounts) -> dict:
    """Weights after the proximal step; one that is in two groups is scaled by both."""
    made = {part.path: np.array(values[part.path], "float64") for part in groups.parts}
    for group, norm, amount in zip(members(groups), norms(groups, values), amounts, strict=True):
        share = max(0.0, 1.0 - amount / norm) if norm > 0 else 0.0
        for path, place in group:
            made[path][place] *= share
    return made
