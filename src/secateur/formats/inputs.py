"""How a Keras model takes its inputs: their nesting, names, shapes and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateur.errors import ModelError

if TYPE_CHECKING:
    import keras


def input_structure(model: keras.Model) -> Any:
    """Return the structure in which `model` takes its inputs, with a `KerasTensor` a leaf."""
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return model.inputs[0]
    if getattr(model, "inputs", None):
        return model.input
    recorded = (model.get_build_config() or {}) if model.built else {}
    shapes = recorded.get("shapes_dict") or {k: v for k, v in recorded.items() if v}
    if not shapes:
        raise ModelError(
            f"the shape of the inputs of model {model.name!r} is not known.",
            mend="Call the model once on a batch of data, or give it a keras.Input.",
        )
    named = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    leaves = [_leaf(name, shape, model.input_dtype) for name, shape in named.items()]
    return leaves[0] if len(leaves) == 1 else leaves


def _leaf(name: str, shape: Any, dtype: str) -> Any:
    """Return a KerasTensor for one recorded input shape, free in its first axis."""
    import keras

    if isinstance(shape, dict):
        return {key: _leaf(key, inner, dtype) for key, inner in shape.items()}
    if shape and isinstance(shape[0], (tuple, list)):
        return [_leaf(f"{name}_{i}", inner, dtype) for i, inner in enumerate(shape)]
    return keras.KerasTensor((None, *shape[1:]), dtype=dtype, name=name)


def input_names(structure: Any) -> list[str]:
    """Return the names of the inputs in a structure, in the order in which Keras flattens it."""
    import keras

    names = [leaf.name for leaf in keras.tree.flatten(structure)]
    if len(set(names)) != len(names):
        raise ModelError(f"two inputs of the model have the same name: {', '.join(names)}.")
    return names
