"""Quantization-aware training: a model trains with rounding in place, its steps being learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from secateur.formats.calls import relaid
from secateur.formats.grids import Quantization
from secateur.graph.configs import made_again
from secateur.graph.weights import copied, paired, settle, to_numpy
from secateur.steps.quantizers import LearnedQuantizer, QuantizedKernel
from secateur.steps.regions import Regions
from secateur.steps.training import Curve, fit

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset


def train(
    model: keras.Model,
    quantization: Quantization,
    chosen: Regions,
    data: Dataset,
    *,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> tuple[keras.Model, Quantization, Curve]:
    """Return the model trained with rounding in place, its weights on the grids that were learned.

    Args:
        model: a folded model; it is untouched.
        quantization: the grids to start from.
        chosen: what is rounded.
        data: gives the batches.
        epochs: how often the training split is passed over.
        learning_rate: the highest rate.
        seed: gives the order of rows and the dropout.
    """
    trained, curve = fit(
        learning(model, quantization, chosen),
        data,
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
    )
    return (*finished(trained, model, quantization, chosen), curve)


def learning(model: keras.Model, quantization: Quantization, chosen: Regions) -> keras.Model:
    """Return a model that computes as `fake_quantized` does, with grids that are learned."""
    made: dict[str, Any] = {}

    def round_(key: str, tensor: Any) -> Any:
        if chosen.sources.get(key) != key:
            return tensor
        grid = quantization.activations[key]
        return LearnedQuantizer(grid, name=_name(key))(tensor)

    def call(key: str, operation: Any, args: Any, kwargs: Any) -> Any:
        name = operation.name
        if name not in made:
            made[name] = made_again(operation, operation.get_config(), key)
            if name in chosen.kernels:
                grid = quantization.weights[operation.kernel.path]
                made[name] = QuantizedKernel(made[name], grid, name=name)
        outputs = made[name](*args, **kwargs)
        return round_(key, outputs) if isinstance(outputs, keras.KerasTensor) else outputs

    twin = relaid(model, call, round_)
    for layer in model.layers:
        new: Any = twin.get_layer(layer.name)
        new = new.layer if isinstance(new, QuantizedKernel) else new
        for source, target in paired(layer, new):
            target.assign(to_numpy(source))
        settle(layer, new)
    return twin


def finished(
    trained: keras.Model, model: keras.Model, quantization: Quantization, chosen: Regions
) -> tuple[keras.Model, Quantization]:
    """Return a plain model of stock layers with what was trained, and the grids as learned."""
    plain = copied(model)
    weights = dict(quantization.weights)
    for layer in plain.layers:
        new: Any = trained.get_layer(layer.name)
        grid = None
        if isinstance(new, QuantizedKernel):
            grid = weights[layer.kernel.path] = new.quantizer.grid
            new = new.layer
        for source, target in paired(new, layer):
            target.assign(to_numpy(source))
        if grid is not None:
            layer.kernel.assign(grid.rounded(to_numpy(layer.kernel)))
    activations = {
        key: trained.get_layer(_name(source)).grid for key, source in chosen.sources.items()
    }
    changes = {"weights": weights, "activations": activations}
    return plain, quantization.model_copy(update=changes)


def _name(key: str) -> str:
    return f"step_of_{key.replace('#', '_call').replace(':', '_output')}"
