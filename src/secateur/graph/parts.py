"""Layers that stand for one layer of a model, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import keras
import numpy as np

from secateur.graph.functional import functional_of, is_nested
from secateur.graph.sweep import Composite
from secateur.graph.weights import own_objects


@dataclass(frozen=True)
class Part:
    """A layer to be made.

    Args:
        kind: its class.
        config: what the class makes it from; the name in it does not count.
        weights: its weights, in the order in which it has them.
        open: what stands in the config instead where the lengths of what it reads are not known.
    """

    kind: Any
    config: Mapping[str, Any]
    weights: Sequence[np.ndarray]
    open: Mapping[str, Any] = field(default_factory=dict)


class Parts:
    """Makes the layers that stand for others, each once, under names that are free."""

    def __init__(self, model: Any, instead: Mapping[int, Sequence[Part]]):
        self._instead = instead
        self._made: dict[int, list[Any]] = {}
        self._names = set(_names(model)) if instead else set()

    def of(self, layer: Any, name: str, shapes: Iterable[Any]) -> list[Any]:
        """Return the layers that stand for one, none if it stays as it is.

        Args:
            layer: the layer.
            name: what their names begin with.
            shapes: the shapes of what it is called on.
        """
        if id(layer) not in self._instead:
            return []
        if id(layer) not in self._made:
            known = all(None not in shape[1:] for shape in shapes)
            with keras.saving.custom_object_scope(own_objects(layer)):
                self._made[id(layer)] = [
                    part.kind.from_config(
                        {
                            **part.config,
                            **({} if known else part.open),
                            "name": self._free(f"{name}_{letter}"),
                        }
                    )
                    for part, letter in zip(self._instead[id(layer)], ascii_lowercase, strict=False)
                ]
        return self._made[id(layer)]

    def inside(self, composite: Composite) -> bool:
        """Say whether a composite layer holds a layer that others stand for."""
        return any(id(call.operation) in self._instead for call in composite.calls)

    def fill(self) -> None:
        """Give the layers their weights, once they are built."""
        for old, layers in self._made.items():
            for part, layer in zip(self._instead[old], layers, strict=True):
                layer.set_weights(list(part.weights))

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free


def in_turn(layers: Sequence[Any], args: Any, kwargs: Any) -> Any:
    """Call layers one after the other, the first as another layer was called."""
    first, *others = layers
    x = first(*args, **kwargs)
    for layer in others:
        x = layer(x)
    return x


def _names(model: Any) -> list[str]:
    found = []
    for operation in functional_of(model).operations:
        found.append(operation.name)
        if is_nested(operation):
            found += _names(operation)
    return found
