"""The model as operations: one sweep over its calls, in topological order, finds the units.

The sweep runs on shapes and ids only. It uses the functional graph that Keras keeps, so it is the
same on every backend, and it leaves the model as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError
from secateur.graph import moves, stock  # noqa: F401  (they fill registries)
from secateur.graph.blocks import with_blocks
from secateur.graph.checks import check_built, check_lambdas, check_precision, check_weights
from secateur.graph.configs import Place, fault_of, is_stock
from secateur.graph.fitting import any_batch
from secateur.graph.follow import follow
from secateur.graph.functional import (
    Names,
    Opened,
    functional_of,
    is_nested,
    laid_out,
    opened,
    output_spec,
)
from secateur.graph.graph import Graph
from secateur.graph.kinds import with_kinds
from secateur.graph.rule import Move, Open, Pin, Rule, rule_of
from secateur.graph.sweep import Call, Composite, Pending, Sweep, Value, mapped, shortest
from secateur.graph.weights import has_own_class
from secateur.graph.whole import Said, held, said_by

# One of these stands in for a length that the model leaves open (image size, time steps): the
# first that the model can be run with: a table of positions may be shorter, a stride longer.
OPEN_LENGTHS = (64, 32, 16, 8, 4, 256, 1024, 4096, 16384)


def trace(model: keras.Model, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """Find the units of a model: what can be removed, from where, and what cannot and why.

    Args:
        model: a built model, nested models included; of a subclassed one, `call` must run on
            symbolic tensors.
        shapes: for inputs with open lengths, the shape without the batch axis to count with.

    Returns:
        A read-only view of the model.

    Raises:
        ModelError: the model is not built, cannot be followed, is not in float32, has weights that
            are not finite, or has a layer that cannot be saved and loaded.
    """
    check_built(model)
    model = laid_out(model)
    functional_of(model)
    check_lambdas(model)
    check_precision(model)
    check_weights(model)
    sweep = _swept(model, shapes or {})
    said: tuple[Said, ...] = ()
    if sweep.faults:
        if not has_own_class(model):
            raise sweep.faults[0]
        sweep = _swept(model, shapes or {}, whole=True)
        said = said_by(model, sweep, lambda other: _swept(other, shapes or {}, whole=True))
        said = held(model, sweep, said)
    graph = with_kinds(Graph.of(model, sweep, said))
    # A model that is made again as a whole keeps its depth.
    return graph if sweep.whole else with_blocks(graph, sweep)


def _swept(model: Any, shapes: Mapping[str, tuple[int, ...]], *, whole: bool = False) -> Sweep:
    """Follow all calls of a model.

    Args:
        model: a functional or Sequential model.
        shapes: for inputs with open lengths, the shape to count with.
        whole: whether it will be made again as a whole, and not layer by layer.
    """
    functional = functional_of(model)
    sweep = Sweep(whole=whole)
    given = [shapes.get(tensor.name) or tensor.shape[1:] for tensor in functional.inputs]
    runs = True
    if any(None in shape for shape in given):
        found = _open_length(functional, given)
        sweep.open_length, runs = found or OPEN_LENGTHS[0], found is not None
    arguments = []
    for tensor, shape in zip(functional.inputs, given, strict=True):
        concrete = (1, *(sweep.open_length or 1 if length is None else length for length in shape))
        arguments.append(sweep.enter(tensor.name, concrete, tensor.dtype))
    try:
        outputs = _walk(functional, arguments, (), sweep)
    except ValueError as error:
        if runs:
            raise ModelError(
                f"its layers cannot be followed: {str(error).splitlines()[0]}",
                where=functional.name,
                mend="Give the shapes of its inputs: trace(model, shapes={name: shape}).",
            ) from error
        raise ModelError(
            f"the model leaves lengths open and cannot be run with any of {OPEN_LENGTHS}.",
            where=functional.name,
            mend="Give the shapes of its inputs: trace(model, shapes={name: shape}).",
        ) from error
    for value in tree.flatten(outputs):
        sweep.leave(value)
    return sweep


def _open_length(functional: Any, shapes: list[Any]) -> int | None:
    """Return the first stand-in for open lengths that the model can be run with, if any."""
    for length in OPEN_LENGTHS:
        arrays = [
            np.zeros((1, *(length if n is None else n for n in shape)), tensor.dtype)
            for tensor, shape in zip(functional.inputs, shapes, strict=True)
        ]
        try:
            functional(tree.pack_sequence_as(functional.input, arrays), training=False)
        except Exception:
            continue
        return length
    return None


def _walk(
    functional: Any,
    arguments: list[Value],
    scope: tuple[str, ...],
    sweep: Sweep,
    name_of: Callable[[Any], str] = lambda operation: operation.name,
) -> Any:
    def blame(operation: Any, specs: Any) -> None:
        # What is inside a composite layer is made again by that layer.
        custom = isinstance(operation, keras.Layer) and not is_stock(operation)
        if custom and not inside and not sweep.whole and (fault := fault_of(operation, specs)):
            sweep.faults.append(fault)

    inside = isinstance(name_of, Names)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        path = (*scope, name_of(operation))
        values = [leaf for leaf in tree.flatten((args, kwargs)) if isinstance(leaf, Value)]
        if is_nested(operation):
            sweep.again("/".join(path), operation, values)
            return _walk(functional_of(operation), values, path, sweep)
        rule = rule_of(operation)
        specs = mapped(lambda value: value.spec, (args, kwargs))
        unknown = isinstance(rule, Pin) and rule.unknown and isinstance(operation, keras.Layer)
        if unknown or isinstance(rule, Open):
            inner = opened(operation, *specs)
            if inner is not None:
                if operation.weights:
                    sweep.again("/".join(path), operation, values, strict=False)
                start, by_itself = len(sweep.calls), not sweep.whole
                held = by_itself and not _can_be_laid_open(operation, inner, specs, sweep)
                # What is inside of a layer that its own class makes again needs no config.
                sweep.whole = sweep.whole or held
                outputs = _enter(inner, path, operation, rule, values, sweep)
                sweep.whole = not by_itself
                if held:
                    _hold(path, operation, specs, sweep)
                    blame(operation, specs)
                given = tuple(value.index for value in tree.flatten(outputs))
                made = Composite(specs, given, tuple(sweep.calls[start:]), held)
                sweep.opened.setdefault("/".join(path), []).append(made)
                return outputs
            rule = rule if unknown else Pin(f"{type(operation).__name__} cannot be opened here")
        blame(operation, specs)
        return _follow("/".join(path), operation, rule, args, kwargs, sweep)

    return functional._run_through_graph(arguments, call_fn=call)


def _enter(
    inner: Opened,
    path: tuple[str, ...],
    operation: Any,
    rule: Rule,
    values: list[Value],
    sweep: Sweep,
) -> Any:
    """Follow the inner operations of a composite layer."""
    name = "/".join(path)
    owned = [sweep.constant(name, held) for held in inner.held]
    outputs = _walk(inner.function, [*values, *owned], path, sweep, Names())
    for variable in operation.weights:
        sweep.weight(name, variable)
    for pair in rule.ties if isinstance(rule, Open) else ():
        sweep.meet(sweep.weight(name, variable).axes[axis] for variable, axis in pair)
    return outputs


def _can_be_laid_open(operation: Any, inner: Opened, specs: Any, sweep: Sweep) -> bool:
    if inner.held or opened(operation, *any_batch(specs, sweep.open_length)) is None:
        return False
    return not any(fault_of(each) for each in inner.function.operations)


def _hold(path: tuple[str, ...], operation: Any, specs: Any, sweep: Sweep) -> None:
    """Let shrink what the layer's own config can say, and nothing else."""
    name = "/".join(path)
    sweep.held.add(name)
    entries = [sweep.weight(name, variable) for variable in operation.weights]
    free: set[Place] = set()
    for axes in sweep.sayable(operation, specs):
        if short := shortest([entries[index].axes[axis] for index, axis in axes]):
            sweep.meet(short)
            free |= set(axes)
    reason = f"{name}: no config of {type(operation).__name__} says that less of it is left"
    for index, entry in enumerate(entries):
        for axis, ids in enumerate(entry.axes):
            if (index, axis) not in free:
                sweep.ledger.pin(ids, reason)


def _follow(path: str, operation: Any, rule: Rule, args: Any, kwargs: Any, sweep: Sweep) -> Any:
    specs = mapped(lambda value: value.spec, (args, kwargs))
    structure = output_spec(operation, *specs[0], **specs[1])
    outs = [(tuple(spec.shape), spec.dtype) for spec in tree.flatten(structure)]
    if any(None in shape for shape, _ in outs):
        raise ModelError(
            f"{type(operation).__name__} does not say how long its output is, even for an input of "
            "known lengths.",
            where=path,
            mend="Give the class a compute_output_shape, or register a rule and call it on what "
            "has known lengths.",
        )
    call = Pending(path, operation, args, kwargs, tuple(shape for shape, _ in outs))
    if isinstance(rule, Move) and rule.shape:
        sweep.again(path, operation, call.inputs)
    for mask in call.masks:
        sweep.pin(mask, mask.live(), f"{path} takes it as a mask")
    axes = follow(rule, sweep, call)
    for variable in getattr(operation, "weights", ()):
        sweep.weight(path, variable)
    values = [sweep.value(*out, line) for out, line in zip(outs, axes, strict=True)]
    taken, given = (tuple(value.index for value in each) for each in (call.inputs, values))
    sweep.add(Call(path, operation, rule, taken, given, args, kwargs))
    return tree.pack_sequence_as(structure, values)
