"""The calls of a functional model: each tensor by a name that survives cloning.

The tensor that an operation gives is named as the operation; a layer that is called again adds
`#2`, and a further output adds `:1`. An input of the model is named as the input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import tree

from secateur.errors import ModelError


@dataclass(frozen=True)
class Use:
    """One call of an operation.

    Args:
        key: the name of the tensor that it gives first.
        operation: what is called.
        inputs: the names of the tensors that it takes.
    """

    key: str
    operation: Any
    inputs: tuple[str, ...]


def relaid(
    model: Any,
    call: Callable[..., Any],
    given: Callable[[str, Any], Any] = lambda key, tensor: tensor,
    *,
    name: str | None = None,
) -> keras.Model:
    """Return a new functional model, each call of the old one replaced by what `call` makes of it.

    Args:
        model: a functional model.
        call: takes the key, the operation, its positional and its named arguments, and gives the
            new output. It must not call the old operation, which would then belong to both models.
        given: takes the key of an input and the new input, and gives what readers of it take.
        name: of the new model; that of the old one if `None`.
    """
    model = functional(model)
    counts: Counter[str] = Counter()

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        counts[operation.name] += 1
        count = counts[operation.name]
        key = operation.name if count == 1 else f"{operation.name}#{count}"
        return call(key, operation, args, kwargs)

    inputs: Any = tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), model.input
    )
    entered = [given(x.name, x) for x in tree.flatten(inputs)]
    outputs = model._run_through_graph(entered, call_fn=called)
    return keras.Model(inputs, outputs, name=name or model.name)


def uses(model: Any) -> tuple[list[Use], tuple[str, ...]]:
    """Return the calls of a functional model in order, and the names of its outputs."""
    model = functional(model)
    names = {id(x): x.name for x in model.inputs}
    counts: Counter[str] = Counter()
    found = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            operation = node.operation
            if node.is_input or not operation:
                continue
            counts[operation.name] += 1
            count = counts[operation.name]
            key = operation.name if count == 1 else f"{operation.name}#{count}"
            taken = tuple(names[id(x)] for x in node.input_tensors)
            for index, tensor in enumerate(node.outputs):
                names[id(tensor)] = f"{key}:{index}" if index else key
            found.append(Use(key, operation, taken))
    return found, tuple(names[id(x)] for x in model.outputs)


def functional(model: Any) -> Any:
    """Return the functional graph of a functional or Sequential model.

    Raises:
        ModelError: the model has none.
    """
    found = model._functional if isinstance(model, keras.Sequential) else model
    if not hasattr(found, "_run_through_graph"):
        raise ModelError(
            "the model has no functional graph, so its calls cannot be seen.",
            where=getattr(model, "name", None),
            mend="Build it as keras.Model(inputs, outputs).",
        )
    return found
