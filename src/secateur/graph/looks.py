"""Where the units of a weight are seen: on what it multiplies, and on what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from secateur.graph.graph import Graph
from secateur.graph.rule import At, Contract, Flow, expanded
from secateur.graph.sweep import Call


@dataclass(frozen=True)
class Look:
    """Where the units of a weight are seen.

    Args:
        call: the call that the weight belongs to.
        weight: its key.
        tensor: the index of the tensor that its units are seen on.
        kept: the axes of the tensor that they are on.
        laid: the axes of the weight that these are, one for each.
        at: how the units lie on the axis of the weight, if it is one.
        reads: whether the tensor is what the weight multiplies, or what the call gives.
    """

    call: Call
    weight: str
    tensor: int
    kept: tuple[int, ...]
    laid: tuple[int, ...]
    at: At
    reads: bool


def looks(graph: Graph) -> Iterator[Look]:
    """Return where each weight meets a tensor, in the order of the calls."""
    keys = {id(variable): key for key, variable in graph.variables.items()}
    for call in graph.calls:
        rule = call.rule
        named = {
            variable.name: keys[id(variable)]
            for variable in getattr(call.operation, "weights", ())
            if id(variable) in keys
        }
        if isinstance(rule, Flow):
            for places, index, reads in (
                (rule.reads, call.inputs[:1], True),
                (rule.writes, call.outputs[:1], False),
            ):
                for name, where in places.items():
                    if name not in named or not index or index[0] in graph.constants:
                        continue
                    place = where[0] if isinstance(where, tuple) else where
                    at = place if isinstance(place, At) else At(place)
                    kept = rule.axis % len(graph.tensors[index[0]].shape)
                    laid = at.axis % len(graph.variables[named[name]].shape)
                    yield Look(call, named[name], index[0], (kept,), (laid,), at, reads)
        elif isinstance(rule, Contract) and len(rule.inputs) == 1 and named:
            for text, index, reads in (
                (rule.inputs[0], call.inputs[0], True),
                (rule.output, call.outputs[0], False),
            ):
                if index in graph.constants:
                    continue
                labels = expanded(text, len(graph.tensors[index].shape))
                for name, line in rule.weights.items():
                    laid = tuple(a for a, label in enumerate(line) if label in labels)
                    kept = tuple(labels.index(line[axis]) for axis in laid)
                    # What a bias is added to is not multiplied by it.
                    if name in named and laid and not (reads and name == "bias"):
                        yield Look(call, named[name], index, kept, laid, At(0), reads)


def laid(graph: Graph, look: Look, array: np.ndarray) -> np.ndarray | None:
    """Lay figures along the kept axes of a tensor, in their order there, on axes of the weight.

    Returns:
        An array that broadcasts against the weight, `None` where they do not fit it.
    """
    shape = graph.variables[look.weight].shape
    array = np.transpose(array, np.argsort(np.argsort(look.kept)))
    if len(look.laid) == 1:
        array = np.tile(np.repeat(array, look.at.repeat), look.at.tile)
        length = shape[look.laid[0]]
        if len(array) != length:
            # A grouped kernel has one group's worth of input channels.
            if not length or len(array) % length:
                return None
            array = array.reshape(-1, length).mean(0)
    lengths = dict(zip(look.laid, array.shape, strict=True))
    return array.reshape([lengths.get(axis, 1) for axis in range(len(shape))])
