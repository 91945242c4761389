"""Images made from a seed, whose classes are planted in groups that share features.

Every group has patterns of its own: gratings of a few orientations and wavelengths, in colours
of its own. A class is a pair of its group's patterns, put at random places over noise. So
features are shared inside a group and foreign to the others, and the groups are known. With more
levels, the colours and wavelengths of a group's subgroups are nearer to each other than to those
of any other group's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitnet_tf.data.dataset import Dataset, Split
from splitnet_tf.errors import DataError

SIZE = 16
PATCH = 7
PATTERNS = 4  # of each finest group; a class is a pair of them
NOISE = 0.22
NEAR_HUES, NEAR_WAVES = 0.25, 0.7  # how far subgroups lie apart, against their groups
MOST_GROUPS = 64


def planted_groups(
    groups: Sequence[int] = (2,),
    classes_per_group: int = 4,
    seed: int = 0,
    num_train: int = 4000,
    num_valid: int = 800,
    num_test: int = 800,
) -> Dataset:
    """Makes a data set with planted groups; the same arguments give the same bytes.

    Args:
      groups: groups of each level from coarse to fine: ``(2,)`` is two groups, ``(2, 2)`` two
        groups of two subgroups each.
      classes_per_group: int from 2 to 6, classes of each finest group. Defaults to 4.
      seed: int, seed of images, names and order. Defaults to 0.
      num_train, num_valid, num_test: ints, images of each split. Default to 4000, 800 and 800.

    Returns:
      Images uint8 (N, 16, 16, 3). ``Dataset.groups`` has the planted groups of each level,
      ``superclasses`` is the coarsest. Class indices are shuffled, so that they tell nothing.

    Raises:
      DataError: there are no groups or more than 64, or too many classes a group.
    """
    groups = tuple(groups)
    pairs = [(i, j) for i in range(PATTERNS) for j in range(i + 1, PATTERNS)]
    fits = groups and min(groups) >= 1 and np.prod(groups) <= MOST_GROUPS
    if not fits or not 2 <= classes_per_group <= len(pairs):
        raise DataError(
            f"Planted data takes 1 to {MOST_GROUPS} groups in all, and 2 to {len(pairs)} classes "
            f"a group; got {groups} and {classes_per_group}."
        )
    rng = np.random.default_rng([seed, 17])
    finest = int(np.prod(groups))
    num_classes = finest * classes_per_group
    shuffled = rng.permutation(num_classes)  # class index of the k-th planted class
    fine = np.empty(num_classes, np.int32)
    fine[shuffled] = np.repeat(np.arange(finest), classes_per_group)
    levels = tuple(
        (fine // int(np.prod(groups[i + 1 :]))).astype(np.int32) for i in range(len(groups))
    )
    patches = _patches(groups, finest, rng)
    pair_of = np.empty((num_classes, 2), int)
    names = [""] * num_classes
    for group in range(finest):
        for k in range(classes_per_group):
            c = shuffled[group * classes_per_group + k]
            pair_of[c] = pairs[k]
            path = np.unravel_index(group, groups)
            names[c] = f"group{'.'.join(str(int(g)) for g in path)}-{k}"
    splits = [
        _split(n, i, seed, fine, pair_of, patches)
        for i, n in enumerate((num_train, num_valid, num_test))
    ]
    return Dataset(
        "planted",
        *splits,
        tuple(names),
        levels[0],
        tuple(f"group{g}" for g in range(groups[0])),
        levels,
    )


def _patches(groups, finest, rng) -> np.ndarray:
    """Draws gratings in the groups' colours, (finest, PATTERNS, PATCH, PATCH, 3) in [-1, 1]."""
    y, x = np.mgrid[:PATCH, :PATCH] - PATCH // 2
    window = np.exp(-(x**2 + y**2) / (2 * (PATCH / 3.2) ** 2))
    # Colours of the coarse groups lie as far apart as they go on a circle across grey.
    hue = 2 * np.pi * np.arange(groups[0]) / groups[0] + rng.uniform(0, 2 * np.pi)
    apart = 2 * np.pi / groups[0] * NEAR_HUES
    hue = (hue[:, None] + apart * _nested(groups[1:], NEAR_HUES)).ravel()
    places = _nested(groups, NEAR_WAVES)
    waves = 2.4 * 2 ** (places / max(places.max(), 1.0))
    across = np.array([[1, -1, 0], [0.5, 0.5, -1]]) / np.sqrt([[2], [1.5]])
    patches = np.empty((finest, PATTERNS, PATCH, PATCH, 3))
    for g in range(finest):
        colour = 0.5 + 0.8 * np.array([np.cos(hue[g]), np.sin(hue[g])]) @ across
        for k in range(PATTERNS):
            # Over a quarter turn only: a flipped image must not look like another class's.
            if len(groups) == 1:
                turn, wave = k + g / finest, 2.6 + 1.6 * ((k + g) % 2)
            else:
                turn, wave = k, waves[g]
            angle = np.pi / 2 * turn / (PATTERNS - 0.5)
            grating = np.cos(2 * np.pi / wave * (x * np.cos(angle) + y * np.sin(angle)))
            patches[g, k] = (grating * window)[..., None] * colour
    return patches


def _nested(groups: Sequence[int], nearness: float) -> np.ndarray:
    """Places of the finest groups: the first level's from 0 to 1, the next's ``nearness`` wide."""
    places = np.zeros(1)
    for level, count in enumerate(groups):
        places = (places[:, None] + np.linspace(0.0, nearness**level, count)).ravel()
    return places


def _split(count, which, seed, fine, pair_of, patches) -> Split:
    rng = np.random.default_rng([seed, 23, which])
    labels = rng.permutation(np.arange(count) % len(fine)).astype(np.int32)
    images = rng.normal(0.0, NOISE, (count, SIZE, SIZE, 3))
    rows = np.arange(count)[:, None, None]
    window = np.arange(PATCH)
    for part in range(2):
        for _ in range(2):  # every pattern twice
            places = rng.integers(0, SIZE - PATCH + 1, (count, 2))
            strength = rng.uniform(0.7, 1.1, (count, 1, 1, 1))
            at_y = places[:, 0, None, None] + window[None, :, None]
            at_x = places[:, 1, None, None] + window[None, None, :]
            images[rows, at_y, at_x] += strength * patches[fine[labels], pair_of[labels, part]]
    return Split(np.clip(128 + 70 * images, 0, 255).astype(np.uint8), labels)
