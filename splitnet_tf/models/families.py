"""Families of ``keras.applications``: the preprocessing that their weights were trained with."""

from __future__ import annotations

import re

# Beginning of a model's name, in lower case -> kind of ``recipe.Preprocessing``. Models of the
# kind "none" begin with layers of their own that scale raw pixels.
_KINDS = {
    r"convnext": "none",
    r"densenet\d": "standardize",
    r"efficientnet": "none",
    r"inception_?resnet": "scale11",
    r"inception_?v3": "scale11",
    r"mobilenet_?v3": "none",
    r"mobilenet": "scale11",
    r"nasnet": "scale11",
    r"resnet(50|101|152)_?v2": "scale11",
    r"resnet(50|101|152)(_|$)": "caffe",
    r"vgg(16|19)": "caffe",
    r"xception": "scale11",
}


def family_preprocessing(name: str) -> str | None:
    """Kind of preprocessing of a model of ``keras.applications``, as its ``preprocess_input``.

    Args:
      name: string, name of the function that builds the model, of the model, or of a layer of a
        model that holds it; case does not matter.

    Returns:
      A kind of ``recipe.Preprocessing``; None for a name of no family.

    >>> family_preprocessing("ResNet50"), family_preprocessing("mobilenetv2_1.00_224_Conv1")
    ('caffe', 'scale11')
    """
    found = (kind for start, kind in _KINDS.items() if re.match(start, name.lower()))
    return next(found, None)
