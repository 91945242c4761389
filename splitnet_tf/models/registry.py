"""Models by name, such as ``wrn-16-8``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import keras

from splitnet_tf.models.alexnet import alexnet
from splitnet_tf.models.convnet import convnet
from splitnet_tf.models.lenet import lenet
from splitnet_tf.models.mlp import mlp, mlp_of_sizes
from splitnet_tf.models.resnet import UNITS, resnet
from splitnet_tf.models.resnet_cifar import resnet_cifar
from splitnet_tf.models.wide_resnet import wide_resnet

KNOWN = (
    "wrn-<depth>-<width>",
    "resnet-<depth>",
    "resnet-<depth>x<width>",
    "alexnet",
    "lenet",
    "convnet",
    "convnet-quick",
    "mlp",
    "mlp-<inputs>-<units>-...-<classes>",
    "or a name from keras.applications, such as ResNet50",
)


def build(
    name: str,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    **settings,
) -> keras.Model:
    """Builds a model by name, with random weights; it returns logits.

    Args:
      name: ``wrn-16-8``, ``resnet-18x2`` (ImageNet's: 18, 34, 50), ``resnet-20`` (CIFAR's, of
        depth 6n + 2), ``alexnet``, ``lenet``, ``convnet``, ``mlp``, ``mlp-784-500-300-10``, or a
        function of ``keras.applications``; case does not matter.
      num_classes: int, size of the logits. Defaults to the model's own.
      input_shape: shape of one example. Defaults to the model's own.
      **settings: arguments of the model's function.

    Raises:
      ValueError: an unknown name, or a setting or size that the model does not take.
    """
    function, named = _find(name)
    unknown = settings.keys() - inspect.signature(function).parameters
    if unknown:
        raise ValueError(f"{name} has no setting '{sorted(unknown)[0]}'.")
    if twice := settings.keys() & named:
        raise ValueError(f"{name} has its {sorted(twice)[0]} in its name; change it there.")
    chosen = {"num_classes": num_classes, "input_shape": input_shape}
    chosen = {k: v for k, v in chosen.items() if v is not None}
    if function in applications().values():
        if "num_classes" in chosen:
            chosen["classes"] = chosen.pop("num_classes")
        if "include_preprocessing" in inspect.signature(function).parameters:
            settings.setdefault("include_preprocessing", False)
        settings.update(weights=None, classifier_activation=None)
    return function(**named, **chosen, **settings)


def wide_resnet_name(units: float, width: float) -> str:
    """Names the wide residual network with ``units`` residual units in a stage."""
    return f"wrn-{6 * units + 4:g}-{width:g}"


def settings_of(name: str) -> dict[str, Any]:
    """Returns the settings that a model can be built with, and their defaults.

    Args:
      name: see ``build``.

    Raises:
      ValueError: an unknown name.
    """
    function, named = _find(name)
    parameters = inspect.signature(function).parameters
    return {key: value.default for key, value in parameters.items() if key not in named}


def _find(name: str) -> tuple[Callable[..., keras.Model], dict[str, Any]]:
    """Finds the function of a model and the settings that its name holds."""
    wide = re.fullmatch(r"wrn-(\d{1,9})-(\d{1,9}(?:\.\d+)?)", name.lower())
    if wide:
        return wide_resnet, {"depth": int(wide[1]), "width": float(wide[2])}
    deep = re.fullmatch(r"resnet-(\d{1,9})(?:x(\d{1,9}(?:\.\d+)?))?", name.lower())
    if deep:
        depth = int(deep[1])
        small = depth not in UNITS and depth % 6 == 2
        named = {"depth": depth, "width": float(deep[2] or 1)}
        return (resnet_cifar if small else resnet), named
    sizes = re.fullmatch(r"mlp((?:-\d{1,9}){2,})", name.lower())
    if sizes:
        return mlp_of_sizes, {"sizes": tuple(map(int, sizes[1][1:].split("-")))}
    kind = re.fullmatch(r"convnet(?:-(full|quick))?", name.lower())
    if kind:
        return convnet, {"kind": kind[1] or "full"}
    function = {"alexnet": alexnet, "lenet": lenet, "mlp": mlp, **applications()}.get(name.lower())
    if function is None:
        raise ValueError(f"model must be one of {', '.join(KNOWN)}; got {name!r}.")
    return function, {}


def applications() -> dict[str, Callable[..., keras.Model]]:
    """Model functions of ``keras.applications`` by lower-case name."""
    return {
        name.lower(): function
        for name, function in vars(keras.applications).items()
        if name[0].isupper() and callable(function)
    }
