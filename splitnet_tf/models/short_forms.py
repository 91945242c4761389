"""Sections as text: short forms of the known models, or layer by layer."""

from __future__ import annotations

import re

from splitnet_tf.errors import ArgumentError

COUNT = "[0-9]{1,6}"

# First layers of the sections of a short form, from the bottom up.
SHORT_FORMS = {
    r"wrn[-_]": ("unit_2_0", "unit_3_0", "logits"),
    r"resnet-(18|34|50)(x|$)": ("unit_3_0", "unit_4_0", "logits"),
    r"resnet-": ("unit_2_0", "unit_3_0", "logits"),
    r"alexnet": ("fc6", "fc7", "fc8"),
    r"lenet": ("fc1", "logits"),
    r"mlp": ("fc2", "logits"),
}


def parse_splits(text: str, model_name: str) -> list[tuple[str, int]]:
    """Parses sections from a text such as ``2-2-2`` or ``fc6:2,fc7:4,fc8:8``.

    Args:
      text: numbers of groups from the bottom up with dashes, or layers with theirs.
      model_name: string, name of the model, which decides where the numbers of a short form stand.

    Returns:
      (first layer, number of groups) of each section, from the bottom up.

    Raises:
      ArgumentError: the text has neither form.
    """
    if ":" in text:
        sections = []
        for part in text.split(","):
            start, _, count = part.strip().rpartition(":")
            if not start or not re.fullmatch(COUNT, count):
                raise ArgumentError(f"`splits`: '{part}' must be <layer>:<groups>, as in logits:4.")
            sections.append((start, int(count)))
        return sections
    if not re.fullmatch(rf"{COUNT}(-{COUNT})*", text):
        raise ArgumentError(
            f"`splits` must be numbers such as 2-2-2 or <layer>:<groups>,...; got '{text}'."
        )
    counts = [int(n) for n in text.split("-")]
    for pattern, starts in SHORT_FORMS.items():
        if re.match(pattern, model_name.lower()):
            if len(counts) != len(starts):
                raise ArgumentError(
                    f"`splits={text}`: {model_name} takes {len(starts)} numbers, for "
                    f"{', '.join(starts)}."
                )
            return list(zip(starts, counts, strict=True))
    raise ArgumentError(
        f"`splits={text}`: model '{model_name}' has no short form; name the layers, such as "
        "`splits=<layer>:2`; suggest_cuts(model), or the program splitnet-cost, lists them."
    )
