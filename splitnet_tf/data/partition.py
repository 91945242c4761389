"""Training, validation and test examples of a data set that may lack some of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from splitnet_tf.data.dataset import Split
from splitnet_tf.errors import ArgumentError, DataError

SHARE = 0.1  # of the training examples of each class
SEED = 2017  # always the same: examples held out of one run are never trained on in another


def held_out(labels: np.ndarray, share: float = SHARE, seed: int = SEED) -> np.ndarray:
    """Chooses examples of each class, always the same.

    Args:
      labels: int (N,), class of each example.
      share: float, share of each class, rounded down, but at least one of two or more examples.

    Returns:
      Sorted numbers of the examples.
    """
    rng, chosen = np.random.default_rng(seed), []
    for c in range(int(labels.max()) + 1):
        found = rng.permutation(np.flatnonzero(labels == c))
        chosen.append(found[: max(int(len(found) * share), int(len(found) > 1))])
    return np.sort(np.concatenate(chosen))


def hold_out(split: Split, share: float = SHARE, seed: int = SEED) -> tuple[Split, Split]:
    """Divides examples into those that stay and those of ``held_out``."""
    chosen = held_out(split.labels, share, seed)
    return split.rows(np.setdiff1d(np.arange(len(split)), chosen)), split.rows(chosen)


def partition(
    name: str, found: Mapping[str, Split], share: float | None = None
) -> tuple[Split, Split, Split]:
    """Gives a data set the splits that it lacks, and says so.

    | found besides ``train`` | validation | test |
    |---|---|---|
    | ``valid``, ``test`` | as found | as found |
    | ``test`` | held out of training | as found |
    | ``valid`` | held out of training | the validation split |
    | neither | held out of training | held out of training |

    Args:
      name: string, name of the data set.
      found: ``train`` and what else there is of ``valid`` and ``test``.
      share: float, share of the training examples that is held out each time. Defaults to 0.1.

    Returns:
      The training, validation and test split.

    Raises:
      DataError: there is no training split, or too little in it.
      ArgumentError: a share where nothing is held out.
    """
    if "train" not in found:
        raise DataError(
            f"Data set '{name}' has no training split, only {', '.join(found) or 'none at all'}; "
            "take another one."
        )
    train, valid, test = (found.get(which) for which in ("train", "valid", "test"))
    if valid is not None and test is not None:
        if share is not None:
            raise ArgumentError(
                f"`validation_share={share:g}`: data set '{name}' has a validation and a test "
                "split of its own, and nothing is held out; leave it out."
            )
        return train, valid, test
    share = SHARE if share is None else share
    part = f"{100 * share:g}% of its training examples, always the same"
    if valid is not None:
        test = valid
        logging.info(
            "Data set '%s' has no test split with labels: its validation split is the test data, "
            "and %s, are held out for validation.",
            *(name, part),
        )
    elif test is None:
        train, test = hold_out(train, share, SEED + 1)
        logging.info(
            "Data set '%s' has neither a validation nor a test split: for each, %s, are held out.",
            *(name, part),
        )
    else:
        logging.info(
            "Data set '%s' has no validation split: %s, are held out for it.", *(name, part)
        )
    train, valid = hold_out(train, share)
    for which, split in (("validation", valid), ("test", test)):
        if not len(split):
            raise DataError(
                f"Data set '{name}' has too few training examples to hold out {which} data; give "
                "it two or more of a class, or a split of its own."
            )
    return train, valid, test
