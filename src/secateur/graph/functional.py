"""The functional graph that Keras keeps of a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src import backend
from keras.src.backend.common.keras_tensor import any_symbolic_tensors
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.ops.nn import DotProductAttention

from secateur.errors import ModelError
from secateur.graph.weights import paired, settle, to_numpy


def functional_of(model: Any) -> Any:
    """Return the functional graph of a model.

    Raises:
        ModelError: the model has none.
    """
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"expected a Keras model, received {type(model).__name__}.",
            mend="Load one with secateur.load(path) or build a keras.Model.",
        )
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise ModelError(
                "the Sequential model is not built, so its weights have no shapes.",
                where=model.name,
                mend="Begin it with keras.Input(shape) or call it once on data.",
            )
        model = model._functional
    if model is None or not hasattr(model, "_run_through_graph"):
        raise ModelError(
            "the model has no functional graph, so its operations cannot be seen.",
            where=getattr(model, "name", None),
            mend="Build it as keras.Model(inputs, outputs).",
        )
    return model


def laid_out(model: Any) -> Any:
    """Return a subclassed model as a functional one of layers like its own; others as they are.

    Its `call` is run on symbolic tensors, of the shapes it was built with.

    Raises:
        ModelError: it cannot be run so, or uses weights that no layer of it owns.
    """
    functional = isinstance(model, keras.Sequential) or hasattr(model, "_run_through_graph")
    if functional or not isinstance(model, keras.Model):
        return model
    if not model.built:
        raise ModelError(
            "the model was never called, so the shapes of its weights are not known.",
            where=model.name,
            mend="Call it once on data.",
        )
    shapes = list((model._build_shapes_dict or {}).values())
    for dtype in ("float32", "int32") if shapes else ():
        specs: Any = [_specs(shape, dtype) for shape in shapes]
        inner = opened(model, specs, {})
        if inner is not None and not inner.held:
            return _made_of_layers(inner.function, specs, model.name)
    raise ModelError(
        "the model's call cannot be followed on symbolic tensors, so what it does is not known.",
        where=model.name,
        mend="Use Keras layers and keras.ops alone in call, give weights to layers, or build the "
        "model as keras.Model(inputs, outputs).",
    )


def _specs(shape: Any, dtype: str) -> Any:
    if isinstance(shape, dict):
        return {name: _specs(each, dtype) for name, each in shape.items()}
    if shape and isinstance(shape[0], (list, tuple)):
        return [_specs(each, dtype) for each in shape]
    return KerasTensor((None, *shape[1:]), dtype=dtype)


def _made_of_layers(function: Any, specs: Any, name: str) -> keras.Model:
    """Return a functional model whose operations are named alike each time it is made."""
    names = Names()
    made: dict[int, Any] = {}

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(operation, keras.Layer):
            operation.name = names(operation)
            return operation(*args, **kwargs)
        if id(operation) not in made:
            made[id(operation)] = type(operation).from_config(operation.get_config())
        return made[id(operation)](*args, **kwargs)

    inputs: Any = tree.map_structure(_entrance, specs)
    outputs = function._run_through_graph(tree.flatten(inputs), call_fn=call)
    for operation in function.operations:
        if id(operation) in made:
            for source, target in paired(operation, made[id(operation)]):
                target.assign(to_numpy(source))
            settle(operation, made[id(operation)])
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name)


def is_nested(operation: Any) -> bool:
    """Say whether an operation is a model that can be walked into."""
    if isinstance(operation, keras.Sequential):
        return operation.built
    return isinstance(operation, keras.Model) and hasattr(operation, "_run_through_graph")


@dataclass(frozen=True)
class Opened:
    """The inside of a composite layer.

    Args:
        function: its operations, a function of the tensors that it is called with and, after
            them, of what it holds itself.
        held: weights of its own, and tensors (the numbers of positions) that it computed once.
    """

    function: Any
    held: tuple[Any, ...]


def opened(layer: keras.Layer, args: Any, kwargs: Any) -> Opened | None:
    """Return the inner operations of a composite layer as a functional graph.

    The layer's `call` is run on symbolic tensors. The layer is left as it was.

    Args:
        layer: a built layer.
        args: what it is called with, a `KerasTensor` for every tensor.
        kwargs: likewise.

    Returns:
        `None` where the call cannot be run symbolically.
    """
    # A tensor that is used for its shape alone has to be an input all the same.
    entered: Any = tree.map_structure(_entrance, (args, _taken(layer, kwargs)))
    alone = _run(layer, [layer], entered)
    if alone is not None:
        return alone
    # An inner layer that returns more than tensors (a cache that is None) is run in place.
    hosts = [layer, *_composites(layer)]
    return _run(layer, hosts, entered) if len(hosts) > 1 else None


def _run(layer: Any, hosts: list[Any], given: Any) -> Opened | None:
    """Run a layer's call on symbolic tensors.

    Args:
        layer: the layer; it is left as it was.
        hosts: the layers whose own calls are run; what they hold becomes an input.
        given: the positional and the named arguments.
    """
    args, kwargs = given
    tensors = [leaf for leaf in tree.flatten(given) if isinstance(leaf, KerasTensor)]
    inner = list(layer._flatten_layers())
    marks = [(len(each._inbound_nodes), len(each._outbound_nodes)) for each in inner]
    own, changes = [], []
    for host in hosts:
        for name, value in list(vars(host).items()):
            if isinstance(value, keras.Variable) or backend.is_tensor(value):
                dtype = keras.backend.standardize_dtype(value.dtype)
                changes.append((host, name, value, _entrance(KerasTensor(value.shape, dtype))))
                own.append(value)
            elif any(value is other for other in hosts[1:]):
                changes.append((host, name, value, _InPlace(value)))
    for host in hosts[1:]:
        # Names in a function are unique; those of layers of two hosts need not be.
        changes += [(x, "name", x.name, f"{host.name}_{x.name}") for x in host._layers]
    stand_ins = [new for *_, new in changes if isinstance(new, KerasTensor)]

    def enter(leaf: Any) -> Any:
        if not backend.is_tensor(leaf):
            return leaf
        own.append(leaf)
        stand_ins.append(_entrance(KerasTensor(leaf.shape, backend.standardize_dtype(leaf.dtype))))
        return stand_ins[-1]

    try:
        # An operation on what the layer holds alone would run at once and leave no trace.
        for host, name, _, new in changes:
            host.__dict__[name] = new
        for each in inner:
            each.__dict__["compute_output_spec"] = partial(output_spec, each)
            if each is not layer and each.weights:
                each.__dict__["call"] = partial(_traced_call, each, enter)
        outputs = layer.call(*args, **kwargs)
        function = keras.Function([*tensors, *stand_ins], outputs)
    except Exception:
        return None
    finally:
        for host, name, old, _ in changes:
            host.__dict__[name] = old
        for each, (inbound, outbound) in zip(inner, marks, strict=True):
            for name in ("compute_output_spec", "call"):
                each.__dict__.pop(name, None)
            del each._inbound_nodes[inbound:]
            del each._outbound_nodes[outbound:]
    return Opened(function, tuple(own))


def _traced_call(layer: Any, enter: Callable[[Any], Any], *args: Any, **kwargs: Any) -> Any:
    """Call an inner layer so that it leaves a trace, on numbers of positions as well."""
    if in_symbolic_scope() or any_symbolic_tensors(args, kwargs):
        return type(layer).call(layer, *args, **kwargs)
    entered: Any = tree.map_structure(enter, (args, kwargs))
    return layer(*entered[0], **entered[1])


class _InPlace:
    """Stands in for an inner layer, whose call is run as if it were written in the outer one."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._layer.call(*args, **_taken(self._layer, kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


def _composites(layer: Any) -> list[Any]:
    """Return the inner layers of classes of their own that have layers in them."""
    return [
        each
        for each in layer._flatten_layers(include_self=False)
        if not type(each).__module__.startswith("keras.") and each._layers
    ]


def _entrance(leaf: Any) -> Any:
    if not isinstance(leaf, KerasTensor):
        return leaf
    return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype)


def output_spec(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what an operation gives, as symbolic tensors of known lengths where its inputs' are.

    Some layers inherit a statement of it that does not know the arguments of their own `call`,
    or leave lengths open or state them wrongly; these are run symbolically.
    """
    kwargs = _taken(operation, kwargs)
    try:
        stated = type(operation).compute_output_spec(operation, *args, **kwargs)
    except TypeError:
        return backend.compute_output_spec(operation.call, *args, **kwargs)
    vague = isinstance(operation, DotProductAttention) or _is_open(stated)
    if not vague or _is_open((args, kwargs)):
        return stated
    try:
        return backend.compute_output_spec(operation.call, *args, **kwargs)
    except Exception:
        # What it is called on may be stated wrongly itself.
        return stated


def _taken(operation: Any, kwargs: Any) -> Any:
    """Leave out what Keras itself leaves out when a layer's call does not take it."""
    if getattr(operation, "_call_has_training_arg", True):
        return kwargs
    return {name: value for name, value in kwargs.items() if name != "training"}


def _is_open(structure: Any) -> bool:
    """Say whether a length of some symbolic tensor is not known."""
    return any(isinstance(t, KerasTensor) and None in t.shape for t in tree.flatten(structure))


class Names:
    """Names for the operations of an opened layer that are the same each time it is opened.

    Keras numbers what has no name of its own through the whole process; here it is numbered
    within the layer.
    """

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._counts: Counter[str] = Counter()

    def __call__(self, operation: Any) -> str:
        """Return the name of an operation."""
        if id(operation) not in self._names:
            stem = re.sub(r"_\d+$", "", operation.name)
            self._counts[stem] += 1
            count = self._counts[stem]
            self._names[id(operation)] = stem if count == 1 else f"{stem}_{count}"
        return self._names[id(operation)]
