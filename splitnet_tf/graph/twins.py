"""Twins: layer classes that compute what a stock class does and learn something besides."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from splitnet_tf.graph.rules import share_rule


@dataclasses.dataclass(frozen=True)
class Twin:
    """A learning class beside its stock class.

    Attributes:
      stock: class of Keras that computes the same outputs.
      settings: names in the learning class's ``get_config`` that the stock class does not take.
    """

    stock: type
    settings: tuple[str, ...]


_TWINS: dict[type, Twin] = {}


def register_twin(learning: type, stock: type, settings: Iterable[str]) -> None:
    """Says that a layer class computes what a stock class does.

    Its layers are then traced and sliced by the rule of the stock class, and copied as stock
    layers.

    Args:
      learning: class of layers with the weights of ``stock`` and perhaps more.
      stock: class of Keras that has a rule.
      settings: names in ``get_config`` of ``learning`` that ``stock`` does not take.
    """
    share_rule(learning, stock)
    _TWINS[learning] = Twin(stock, tuple(settings))


def twin_of(layer: Any) -> Twin | None:
    """Returns the twin behind a learning layer, None for any other layer."""
    return next((_TWINS[cls] for cls in type(layer).__mro__ if cls in _TWINS), None)


def stock_type(layer: Any) -> type:
    """Returns the stock class behind a learning layer, its own class for any other layer."""
    twin = twin_of(layer)
    return twin.stock if twin else type(layer)
