"""Names that the ``config.json`` of a ``.keras`` file may hold: Keras' and this package's.

Keras builds a model by looking up every class and function that the file names. The walk here
looks up the same names first, in what is imported already, and refuses a file that names
anything else, so that no file decides what code runs.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras

MAX_DEPTH = 100
OWN_PACKAGE = "splitnet_tf"

# Objects without a class of their own: values that JSON has no words for.
_VALUES = frozenset({"__keras_tensor__", "__slice__", "__ellipsis__", "__bytes__"})
_ARRAYS = frozenset({"__tensor__", "__numpy__"})
_NUMBERS = re.compile(r"(bool|u?int(4|8|16|32|64)|b?float(8_e4m3fn|8_e5m2|16|32|64))")

# What a model is made of.
_KINDS = (
    keras.Operation,  # layers, models and single operations
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.dtype_policies.DTypePolicy,
    keras.random.SeedGenerator,
    keras.quantizers.Quantizer,
    *filter(None, [getattr(keras.quantizers, "QuantizationConfig", None)]),  # since Keras 3.13
)
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_FILES = ("StringLookup", "IntegerLookup", "TextVectorization")
_REFUSED = {
    cls: reason
    for names, reason in ((_CODE, "holds code"), (_FILES, "reads other files"))
    for name in names
    if (cls := getattr(keras.layers, name, None)) is not None
}
_FUNCTIONS = ("activations", "initializers", "constraints", "regularizers", "losses", "metrics")
_NEITHER = "neither of Keras nor of this package"


def check_config(config: Any, custom_objects: Mapping[str, Any] | None = None) -> None:
    """Refuses a model's config that names anything but Keras' and this package's objects.

    Args:
      config: configuration of the model, as read from JSON.
      custom_objects: registered name -> another object that may be named. Defaults to none.

    Raises:
      ValueError: another name; the error says which layer has it.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("its config.json describes no model")
    registered = keras.saving.get_custom_objects()
    known = {name for name, obj in registered.items() if _is_own(name, obj)}
    known.update(custom_objects or ())
    others = set(registered) - known
    for label, value in _walk(config):
        if isinstance(value, str):
            if value in others:
                raise ValueError(f"it names '{value}', which is {_NEITHER}")
        elif "class_name" in value:
            _check_object(value, label, known, others)


def _walk(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields every object and string with the name of the layer around it. Not recursive."""
    stack = [(config, str(config.get("class_name")), 0)]
    while stack:
        value, label, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"its config.json is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            inner = value.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            if isinstance(name, str):
                label = name
            yield label, value
            stack.extend(
                (v, label, depth + 1)
                for k, v in value.items()
                if not (k == "name" and isinstance(v, str))  # a name only, whatever it says
            )
        elif isinstance(value, list):
            stack.extend((v, label, depth + 1) for v in value)
        elif isinstance(value, str):
            yield label, value


def _check_object(entry: dict[str, Any], label: str, known: set[str], others: set[str]) -> None:
    name, module, inner = entry["class_name"], entry.get("module"), entry.get("config")
    registered = entry.get("registered_name")
    where = f"layer '{label}'"
    for text in (name, module, registered):
        if not (text is None or isinstance(text, str)) or name is None:
            raise ValueError(f"{where} has a class that is no name")
    if name in _VALUES:
        return
    if name in _ARRAYS:
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        if not isinstance(dtype, str) or not _NUMBERS.fullmatch(dtype):
            raise ValueError(f"{where} has an array that is not of numbers")
        return
    if name == "__lambda__":
        raise ValueError(f"{where} holds a lambda, which is code")
    is_function = name == "function"
    full = f"{module}.{inner if is_function else name}"
    # Where Keras looks first: among what was registered, under this name.
    key = inner if is_function else entry.get("registered_name", name)
    for text in (key, registered, name):
        if isinstance(text, str) and (text in others or (">" in text and text not in known)):
            raise ValueError(f"{where} is a '{text}' ({full}), which is {_NEITHER}")
    if isinstance(key, str) and key in known:
        return
    found = _keras_function(module, inner) if is_function else _keras_class(module, name)
    if found is None:
        raise ValueError(f"{where} is a '{full}', which is {_NEITHER}")
    for cls, reason in _REFUSED.items():
        if isinstance(found, type) and issubclass(found, cls):
            raise ValueError(f"{where} is a {cls.__name__} layer, which {reason}")


def _is_own(name: str, obj: Any) -> bool:
    module = getattr(obj, "__module__", None) or ""
    return name.startswith(f"{OWN_PACKAGE}>") and module.partition(".")[0] == OWN_PACKAGE


def _keras_class(module: str | None, name: str) -> type | None:
    """Finds a class of Keras that models are made of, or None. Imports nothing."""
    found = _public(module, name)
    if found is None and module is not None and module.startswith("keras."):
        # Operations and a few layers have no public name and go by their module.
        found = vars(sys.modules.get(module, object)).get(name)
    if not (isinstance(found, type) and issubclass(found, _KINDS)):
        return None
    return found if found.__module__.partition(".")[0] == "keras" else None


def _keras_function(module: str | None, name: Any) -> Any:
    """Finds a function of Keras for numbers, or None."""
    if not isinstance(name, str) or module is None:
        return None
    if module == "builtins":
        modules = [f"keras.{part}" for part in _FUNCTIONS]
    elif module in {f"keras.{part}" for part in _FUNCTIONS} or f"{module}.".startswith(
        "keras.ops."
    ):
        modules = [module]
    else:
        return None
    for each in modules:
        found = _public(each, name)
        if isinstance(found, types.FunctionType):
            return found
    return None


def _public(module: str | None, name: str) -> Any:
    """Finds ``keras.<...>.<name>`` by public names alone, or None."""
    first, *parts = f"{module}.{name}".split(".")
    if first != "keras" or any(part.startswith("_") for part in parts):
        return None
    found: Any = keras
    for part in parts:
        if not isinstance(found, types.ModuleType):
            return None
        found = getattr(found, part, None)
    return found
