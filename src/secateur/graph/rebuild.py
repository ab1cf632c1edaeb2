"""A model again, with only the units that are kept: smaller configs and smaller weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import tree
from keras.src.ops.nn import DotProductAttention
from keras.src.ops.numpy import Split

from secateur.errors import ModelError
from secateur.graph.configs import fault_of, is_stock, made_again
from secateur.graph.fitting import Wanted, any_batch, fitting
from secateur.graph.functional import Names, functional_of, is_nested, opened
from secateur.graph.graph import Graph, kept_shape
from secateur.graph.parts import Part, Parts, in_turn
from secateur.graph.refit import compensated, pieces, resized, rewritten, stated
from secateur.graph.removal import GONE, Gone, Removal
from secateur.graph.rule import Contract
from secateur.graph.sweep import Call, Composite
from secateur.graph.weights import paired, settle, to_numpy
from secateur.graph.whole import made_whole

Path = tuple[str, ...]


def rebuild(
    graph: Graph, keep: np.ndarray, instead: Mapping[int, Sequence[Part]] | None = None
) -> keras.Model:
    """Return a new model without the units that are not kept; the traced one is untouched.

    A composite layer (attention, a block of one's own) is made again by its own class where some
    smaller config gives exactly the wanted weights; else its inner operations are laid into the
    functional graph.

    Args:
        graph: a traced model.
        keep: for each unit of the graph, whether it stays.
        instead: layers that stand for a layer, one after the other, by the id of that layer. The
            composite layers that it is inside of are laid open.

    Returns:
        An ordinary Keras model of the same kinds of layers, with the names of the old ones.

    Raises:
        ModelError: a layer cannot be made again.
    """
    axes = {id(graph.variables[key]): weight.axes for key, weight in graph.weights.items()}
    if graph.said:
        return _as_a_whole(graph, keep, axes)
    builder = _Builder(graph, keep, Parts(graph.model, instead or {}))
    model = builder.model(graph.model, ())
    for old, new in builder.pairs:
        _fill(old, new, axes, keep)
        compensated(old, new)
        settle(old, new)
    builder.parts.fill()
    return model


def _fill(old: Any, new: Any, axes: Mapping[int, Any], keep: np.ndarray) -> None:
    """Give a layer made again what is kept of the old one's weights."""
    if len(old.weights) != len(new.weights):
        raise ModelError(
            f"{type(old).__name__} made again has {len(new.weights)} weights instead of "
            f"{len(old.weights)}.",
            where=old.name,
            mend="Let every layer own its weights; what two layers share, make a layer of its own.",
        )
    for source, target in paired(old, new):
        value = kept_values(to_numpy(source), axes[id(source)], keep)
        if value.shape != tuple(target.shape):
            raise ModelError(
                f"{source.name} of {type(old).__name__} made again has shape "
                f"{tuple(target.shape)}; its rule leaves {value.shape}.",
                where=old.name,
                mend="Name in its rule the config entry (size=) and each axis (reads=, writes=) "
                "that has this length.",
            )
        target.assign(value)


def _as_a_whole(graph: Graph, keep: np.ndarray, axes: Mapping[int, Any]) -> keras.Model:
    values = [kept_values(to_numpy(w), axes[id(w)], keep) for w in graph.model.weights]
    new = made_whole(graph.model, graph.said, [value.shape for value in values])
    for target, value in zip(new.weights, values, strict=True):
        target.assign(value)
    settle(graph.model, new)
    return new


def kept_values(value: np.ndarray, axes: Any, keep: np.ndarray) -> np.ndarray:
    """Return an array without the positions of units that are not kept."""
    for axis, ids in enumerate(axes):
        if ids is not None and not keep[ids].all():
            value = np.compress(keep[ids], value, axis=axis)
    return value


@dataclass
class _Builder:
    graph: Graph
    keep: np.ndarray
    parts: Parts
    made: dict[int, Any] = field(default_factory=dict)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    turns: Counter[Path] = field(default_factory=Counter)
    laid: list[Any] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.calls: Mapping[str, Call] = {call.path: call for call in self.graph.calls}
        self.shapes = {
            id(self.graph.variables[key]): shape
            for key, shape in self.graph.shapes(self.keep).items()
        }
        self.removal = Removal(self.graph, self.keep)

    def model(self, old: Any, scope: Path, shapes: list | None = None) -> Any:
        """Rebuild a model, or a model nested in it whose inputs have the given shapes."""
        functional = functional_of(old)
        shapes = shapes or [tensor.shape for tensor in functional.inputs]
        flat = [
            keras.Input(
                batch_shape=_as_open(shape, tensor.shape), dtype=tensor.dtype, name=tensor.name
            )
            for tensor, shape in zip(functional.inputs, shapes, strict=True)
        ]
        inputs = tree.pack_sequence_as(functional.input, flat)
        if isinstance(old, keras.Sequential):
            return self._sequential(old, flat[0], scope)
        outputs = functional._run_through_graph(
            inputs,
            call_fn=lambda operation, *args, **kwargs: self._call(scope, operation, args, kwargs),
        )
        return keras.Model(inputs, outputs, name=old.name)

    def _sequential(self, old: keras.Sequential, tensor: Any, scope: Path) -> Any:
        if any("/".join((*scope, layer.name)) in self.graph.opened for layer in old.layers):
            x = tensor
            for layer in old.layers:
                x = self._call(scope, layer, (x,), {})
            return keras.Model(tensor, x, name=old.name)
        new = keras.Sequential([tensor], name=old.name)
        shape = tensor.shape
        for layer in old.layers:
            several = self.parts.of(layer, layer.name, [shape])
            for each in several or [self._operation((*scope, layer.name), layer, [shape])]:
                new.add(each)
            shape = new.output_shape
        return new

    def _call(self, scope: Path, operation: Any, args: Any, kwargs: Any) -> Any:
        path = (*scope, operation.name)
        shapes = [tensor.shape for tensor in _tensors((args, kwargs))]
        if several := self.parts.of(operation, operation.name, shapes):
            return in_turn(several, args, kwargs)
        instead = self.removal.stand_in("/".join(path), operation, args, kwargs)
        if instead is not None:
            return instead
        if "/".join(path) in self.graph.opened:
            return self._composite(path, operation, operation.name, args, kwargs)
        new = self._operation(path, operation, shapes)
        return self._called(self.calls.get("/".join(path)), operation, new, args, kwargs)

    def _called(self, call: Call | None, old: Any, new: Any, args: Any, kwargs: Any) -> Any:
        if call is None or isinstance(old, keras.Layer):
            return new(*args, **kwargs)
        keeps = self._keeps(call)
        if isinstance(old, Split) and (keep := keeps[old.axis]) is not None:
            # Keras does not know the shapes of what it splits into pieces of different lengths.
            taken = pieces(old, keep)
            lead = (slice(None),) * (old.axis % len(keeps))
            if taken is not None:
                return [args[0][(*lead, piece)] for piece in taken]
        args, kwargs = rewritten(old, keeps, args, kwargs)
        made = new(*args, **kwargs)
        return attended(made, args) if isinstance(old, DotProductAttention) else made

    def _operation(self, path: Path, old: Any, shapes: list) -> Any:
        if id(old) not in self.made:
            if is_nested(old):
                self.made[id(old)] = self.model(old, path, shapes)
            else:
                call = self.calls["/".join(path)]
                self._keep(old, made_again(old, self._config(call, old), call.path))
        return self.made[id(old)]

    def _composite(self, path: Path, old: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Make a composite layer again under a name, or lay it open."""
        turns = self.graph.opened["/".join(path)]
        composite = turns[min(self.turns[path], len(turns) - 1)]
        self.turns[path] += 1
        if self.removal.opens("/".join(path)) or self.parts.inside(composite):
            return self._laid_open(path, old, composite, args, kwargs)
        tensors = [self.graph.tensors[index] for index in composite.outputs]
        outputs = [kept_shape(each.shape, each.axes, self.keep)[1:] for each in tensors]
        if id(old) not in self.made:
            wanted = Wanted([self.shapes[id(weight)] for weight in old.weights], outputs)
            new = None
            if is_stock(old) or fault_of(old, composite.specs) is None:
                as_it_is = [tuple(w.shape) for w in old.weights], [t.shape[1:] for t in tensors]
                if wanted == Wanted(*as_it_is):
                    new = made_again(old, {**old.get_config(), "name": name}, "/".join(path))
                else:
                    new = fitting(old, name, wanted, composite.specs, args, kwargs)
            if new is None:
                return self._laid_open(path, old, composite, args, kwargs)
            self._keep(old, new)
        made = self.made[id(old)](*args, **kwargs)
        if len(outputs) > 1 or None in made.shape[1:] or made.shape[1:] == outputs[0]:
            return made
        # What a class states of its output need not be so, and what follows is built on it.
        return keras.ops.reshape(made, (-1, *outputs[0]))

    def _laid_open(self, path: Path, old: Any, composite: Composite, args: Any, kwargs: Any) -> Any:
        """Lay the inner operations of a composite layer into the functional graph."""
        inner = opened(old, *any_batch(composite.specs, self.graph.open_length))
        loses = self.removal.opens("/".join(path))
        if inner is None and loses:
            inner = opened(old, *composite.specs)
        # What is known by its id must live as long as the builder.
        self.laid.append(inner)
        names = Names()
        calls = {call.path: call for call in composite.calls}
        if inner is None or (inner.held and not loses):
            why = "holds weights itself" if inner else "cannot be run for any batch size"
            raise ModelError(
                f"no config of {type(old).__name__} gives the wanted weights, and it {why}, so it "
                "cannot be laid open.",
                where="/".join(path),
                mend="Keep its layers whole with keep=, or register a rule for it.",
            )

        tensors = _tensors((args, kwargs))
        known = all(None not in tensor.shape[1:] for tensor in tensors)

        def call(operation: Any, *inner_args: Any, **inner_kwargs: Any) -> Any:
            at = (*path, names(operation))
            shapes = [tensor.shape for tensor in _tensors((inner_args, inner_kwargs))]
            if several := self.parts.of(operation, "_".join(at), shapes):
                return in_turn(several, inner_args, inner_kwargs)
            instead = self.removal.stand_in("/".join(at), operation, inner_args, inner_kwargs)
            if instead is not None:
                return instead
            if "/".join(at) in self.graph.opened:
                name = self._unique("_".join(at))
                return self._composite(at, operation, name, inner_args, inner_kwargs)
            if is_nested(operation):
                return self._operation(at, operation, shapes)(*inner_args, **inner_kwargs)
            return self._inner(calls["/".join(at)], operation, inner_args, inner_kwargs, known)

        # What it holds itself can only have been used by what is gone.
        own = [GONE] * len(inner.held)
        return inner.function._run_through_graph([*tensors, *own], call_fn=call)

    def _inner(self, call: Call, operation: Any, args: Any, kwargs: Any, known: bool) -> Any:
        if id(operation) not in self.made:
            config = self._config(call, operation)
            if known and isinstance(call.rule, Contract) and call.rule.shape:
                # What follows may need to know the lengths that the layer itself could leave open.
                lengths = self.graph.tensors[call.outputs[0]].shape[1:]
                config[call.rule.shape] = stated(config[call.rule.shape], lengths)
            config["name"] = self._unique(call.path.replace("/", "_"))
            self._keep(operation, made_again(operation, config, call.path))
        return self._called(call, operation, self.made[id(operation)], args, kwargs)

    def _unique(self, name: str) -> str:
        """Number the names of what is laid open more than once."""
        number, free = 1, name
        while free in self.names:
            number += 1
            free = f"{name}_{number}"
        self.names.add(free)
        return free

    def _config(self, call: Call, old: Any) -> dict[str, Any]:
        tensor = self.graph.tensors[call.outputs[0]]
        shape = kept_shape(tensor.shape, tensor.axes, self.keep)
        return resized(old.get_config(), call.rule, tensor.shape, shape)

    def _keeps(self, call: Call) -> list[np.ndarray | None]:
        tensor = self.graph.tensors[call.inputs[0]]
        return [None if ids is None else self.keep[ids] for ids in tensor.axes]

    def _keep(self, old: Any, new: Any) -> None:
        self.made[id(old)] = new
        if isinstance(old, keras.Layer):
            self.pairs.append((old, new))


def attended(made: Any, args: Any) -> Any:
    """State the shape of an attention, which Keras takes for that of its query.

    Raises:
        ModelError: it cannot be stated since the model leaves lengths open.
    """
    query, _, value = args[:3]
    shape = (*query.shape[:-1], value.shape[-1])
    if tuple(made.shape) == shape:
        return made
    if None in shape[1:]:
        raise ModelError(
            "heads of other sizes for keys than for values need a known number of positions.",
            mend="Keep the layers before the attention whole with keep=.",
        )
    return keras.ops.reshape(made, (-1, *shape[1:]))


def _as_open(shape: Any, old: Any) -> tuple[int | None, ...]:
    """Return a shape that is open where the old one is, since other lengths may be given too."""
    return tuple(None if was is None else now for now, was in zip(shape, old, strict=True))


def _tensors(structure: Any) -> list[Any]:
    kinds = keras.KerasTensor | Gone
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, kinds)]
