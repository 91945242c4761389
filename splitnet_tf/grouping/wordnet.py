"""A taxonomy of classes from WordNet, through nltk, which must be installed for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitnet_tf.errors import GroupingError


def wordnet_taxonomy(class_names: Sequence[str], wordnet: Any = None) -> dict[str, Any]:
    """Builds the tree of hypernyms with the classes as its leaves.

    The first noun synset of a name is taken (``sea_lion`` and ``sea lion`` are the same), and the
    first of its paths from the root; an ImageNet identifier such as ``n02084071`` is taken itself.

    Args:
      class_names: names of the data set's classes.
      wordnet: object with the methods of ``nltk.corpus.wordnet``, which is the default.

    Raises:
      GroupingError: nltk or its WordNet is not there, or a class is not in it.
    """
    if wordnet is None:
        try:
            from nltk.corpus import wordnet
        except ImportError:
            raise GroupingError(
                "`grouping=wordnet` needs nltk: pip install nltk, then python -m nltk.downloader "
                "wordnet."
            ) from None
    tree: dict[str, Any] = {}
    for name in class_names:
        try:
            synset = _synset(name, wordnet)
        except LookupError:
            raise GroupingError(
                "`grouping=wordnet`: nltk has no WordNet; run python -m nltk.downloader wordnet."
            ) from None
        if synset is None:
            raise GroupingError(
                f"`grouping=wordnet`: class '{name}' is not a noun of WordNet; write a taxonomy as "
                "JSON instead."
            )
        node = tree
        for hypernym in synset.hypernym_paths()[0]:
            node = node.setdefault(hypernym.name(), {})
        node.setdefault("", []).append(name)
    return tree


def _synset(name: str, wordnet: Any):
    if name[:1] == "n" and name[1:].isdigit():
        return wordnet.synset_from_pos_and_offset("n", int(name[1:]))
    found = wordnet.synsets(name.replace(" ", "_"), pos="n")
    return found[0] if found else None
