"""Pair the calls of two models of the same wiring, one of which was cut from the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from secateur.graph.graph import Graph, kept_shape
from secateur.graph.sweep import Call
from secateur.graph.weights import to_numpy


@dataclass(frozen=True)
class Pair:
    """A call of a model and that of the smaller one which does the same.

    `now` is `None` inside of a removed block, and for the sum that ends it; `stream` is then the
    tensor of the smaller model that stands for what the sum gave.
    """

    was: Call
    now: Call | None
    stream: int | None = None


def paired(before: Graph, after: Graph, keep: np.ndarray) -> list[Pair] | None:
    """Pair the calls of a model with those of what was cut from it, in the order of the first.

    Two calls belong together that are of one type and read tensors that belong together.

    Returns:
        `None` where that cannot be done, since the wiring is another.
    """
    blocks = before.removed(keep)
    gone = {number for block in blocks for number in block.calls}
    streams = {block.merge: block.stream for block in blocks if block.merge not in gone}
    twin: dict[int, int] = {index: index for index in range(len(before.model.inputs))}
    named = _constants(after)
    twin |= {index: named[name] for name, index in _constants(before).items() if name in named}
    waiting: dict[Any, list[Call]] = defaultdict(list)
    for call in after.calls:
        waiting[type(call.operation), call.inputs].append(call)
    pairs = []
    for number, was in enumerate(before.calls):
        if number in gone:
            pairs.append(Pair(was, None))
            continue
        if number in streams:
            twin[was.outputs[0]] = twin[streams[number]]
            pairs.append(Pair(was, None, twin[streams[number]]))
            continue
        key = type(was.operation), tuple(twin.get(index, -1) for index in was.inputs)
        if not waiting[key]:
            return None
        # Several layers may read one tensor; what is laid open is named by its path.
        alike = [call for call in waiting[key] if _flat_name(call) == _flat_name(was)]
        now = (alike or waiting[key])[0]
        waiting[key].remove(now)
        for old, new in zip(was.outputs, now.outputs, strict=True):
            tensor = before.tensors[old]
            if kept_shape(tensor.shape, tensor.axes, keep) != after.tensors[new].shape:
                return None
            twin[old] = new
        pairs.append(Pair(was, now))
    return None if any(waiting.values()) else pairs


def _flat_name(call: Call) -> str:
    return call.path.replace("/", "_")


def _constants(graph: Graph) -> dict[tuple[Any, int], int]:
    """Return the tensors that layers hold, by the key of the weight or by what is in them."""
    keys = {id(variable): key for key, variable in graph.variables.items()}
    times: Counter[Any] = Counter()
    found = {}
    for index, held in graph.constants.items():
        name = keys.get(id(held)) or to_numpy(held).tobytes()
        times[name] += 1
        found[name, times[name]] = index
    return found
