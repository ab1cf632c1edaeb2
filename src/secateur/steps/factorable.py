"""Which layers of a model can be written as products of smaller ones, and why others cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

import keras
from keras import layers

from secateur.errors import PlanError
from secateur.graph.blocks import scopes_of
from secateur.graph.configs import is_stock
from secateur.graph.graph import Graph
from secateur.graph.rule import Contract, expanded, rule_of
from secateur.graph.sweep import Call
from secateur.steps.readers import reader
from secateur.steps.result import Note
from secateur.steps.subject import CONVOLUTIONS, KINDS, Subject

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)


def subjects_of(
    graph: Graph, among: Sequence[str] = (), keep: Sequence[str] = ()
) -> tuple[list[Subject], list[Note]]:
    """Return the layers that can be factorized, and notes on those with kernels that cannot.

    Args:
        graph: a traced model.
        among: patterns of the layers that may be; all of them if empty.
        keep: patterns of layers that stay as they are.

    Raises:
        PlanError: a pattern matches no layer with a kernel.
    """
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in graph.calls:
        if any(len(weight.shape) > 1 for weight in getattr(call.operation, "weights", ())):
            calls[id(call.operation)].append(call)
    paths = [call.path for each in calls.values() for call in each]
    for where, patterns in (("layers", among), ("keep", keep)):
        for pattern in patterns:
            if not any(_matches(path, (pattern,)) for path in paths):
                raise PlanError(
                    f"the pattern {pattern!r} matches no layer with a kernel.",
                    where=where,
                    mend=f"Layers are named like {', '.join(paths[:3])}." if paths else None,
                )
    owners = _owners(graph)
    found, notes = [], []
    for each in calls.values():
        path = each[0].path
        if among and not any(_matches(call.path, among) for call in each):
            continue
        why = "keep= names it" if any(_matches(call.path, keep) for call in each) else None
        why = why or _fault(graph, each, owners)
        if why is not None:
            notes.append(Note("factorize", "skipped", f"kept: {why}", path))
            continue
        shapes = tuple(
            (graph.tensors[call.inputs[0]].shape, graph.tensors[call.outputs[0]].shape)
            for call in each
        )
        found.append(Subject(path, each[0].operation, shapes, graph.open_length is not None))
    return found, notes


def told(graph: Graph, subject: Subject) -> str:
    """Say what is laid open for a layer, and what it had that only a part of its factors has."""
    layer = subject.layer
    laid = [scope for scope in scopes_of(subject.path) if scope in graph.opened]
    said = f"; {laid[0]} is laid open for it" if laid else ""
    for name in ("kernel", "embeddings"):
        if getattr(layer, f"{name}_constraint", None) is not None:
            said += "; its constraint is left out"
        if getattr(layer, f"{name}_regularizer", None) is not None:
            factor = "first" if name == "embeddings" else "last"
            said += f"; its regularizer is on the {factor} factor alone"
    return said


def _matches(path: str, patterns: Sequence[str]) -> bool:
    names = (path, path.rpartition("/")[2])
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _owners(graph: Graph) -> dict[int, set[int]]:
    """Return which operations use each weight, by ids; a tensor of its own counts as one."""
    owners: dict[int, set[int]] = defaultdict(set)
    for index, held in graph.constants.items():
        owners[id(held)].add(-1 - index)
    for call in graph.calls:
        for weight in getattr(call.operation, "weights", ()):
            owners[id(weight)].add(id(call.operation))
    return owners


def _fault(graph: Graph, calls: list[Call], owners: dict[int, set[int]]) -> str | None:
    """Say why a layer cannot be factorized."""
    layer: Any = calls[0].operation
    kind = type(layer).__name__
    if graph.said:
        return f"{type(graph.model).__name__} can only be made again as a whole"
    if isinstance(layer, _DEPTHWISE):
        return "a depthwise convolution has one small kernel a channel, and no rank to lower"
    if not is_stock(layer):
        return f"{kind} is a class of one's own"
    if type(layer) not in KINDS:
        return f"{kind} is not factorized"
    if isinstance(layer, CONVOLUTIONS) and layer.groups > 1:
        return "the groups of a grouped convolution are small already"
    if getattr(layer, "lora_enabled", False):
        return "it has an adapter of low rank (LoRA) already"
    if any(len(owners[id(weight)]) > 1 for weight in layer.weights):
        return "its weights are used by others as well"
    for call in calls:
        for scope in scopes_of(call.path):
            if any(each.held for each in graph.opened.get(scope, ())):
                return f"{scope} cannot be laid open"
            if scope in graph.opened and _masks(graph):
                return f"{scope} laid open would not hand on the mask of the model's sequences"
        if len(tuple(leaf for leaf in keras.tree.flatten(call.args) if leaf is not None)) != 1:
            return "it is called on more than one tensor"
    if isinstance(layer, layers.Embedding):
        return None
    for call in calls:
        given, made = (graph.tensors[index].shape for index in (call.inputs[0], call.outputs[0]))
        known = reader(layer, given, made)
        if isinstance(known, str):
            return known
        if isinstance(layer, layers.EinsumDense) and not _as_stated(layer, given, made):
            return f"{layer.equation} does not give the shape that Keras states, {made[1:]}"
    return None


def _masks(graph: Graph) -> bool:
    """Say whether a layer of the model gives a mask with its output."""
    return any(
        isinstance(each, layers.Masking) or getattr(each, "mask_zero", False)
        for each in graph.model._flatten_layers(include_self=False)
    )


def _as_stated(layer: Any, given: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Say whether an axis is of one length before and after, and none is summed over alone."""
    rule = rule_of(layer)
    assert isinstance(rule, Contract)
    x, y = expanded(rule.inputs[0], len(given)), expanded(rule.output, len(made))
    lengths = dict(zip(x, given, strict=True))
    alike = all(lengths.get(label, length) == length for label, length in zip(y, made, strict=True))
    return alike and set(x) <= {*y, *rule.weights["kernel"]}
