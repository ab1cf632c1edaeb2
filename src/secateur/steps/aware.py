"""Quantization-aware training: a model trains with rounding in place, its steps being learned."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.formats.calls import relaid, uses
from secateur.formats.grids import Grid, Quantization
from secateur.graph.configs import made_again
from secateur.graph.rebuild import kept_values
from secateur.graph.weights import copied, paired, settle, to_numpy
from secateur.steps.quantizers import LearnedQuantizer, QuantizedKernel
from secateur.steps.regions import Regions, regions
from secateur.steps.rounding import put_on_grids, stored_grids
from secateur.steps.training import Curve, fit

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.graph.graph import Graph


@dataclass(frozen=True)
class Rounding:
    """What of a folded model is rounded while it trains.

    Args:
        quantization: the grids to start from.
        chosen: which tensors are rounded.
    """

    quantization: Quantization
    chosen: Regions

    def around(self, model: keras.Model) -> keras.Model:
        """Return a model of the same weights with quantization layers, whose steps are learned."""
        return learning(model, self.quantization, self.chosen)

    def paired(self, model: keras.Model, trained: keras.Model) -> Iterator[tuple[Any, Any]]:
        """Yield each weight of a model with its counterpart in what `around` gave of it."""
        for layer in model.layers:
            yield from paired(layer, _plain(trained.get_layer(layer.name)))

    def learned(
        self, trained: keras.Model, graph: Graph, keep: np.ndarray, smaller: keras.Model
    ) -> Quantization:
        """Return the grids as learned, of a model that was cut since.

        Args:
            trained: what `around` gave.
            graph: the trace of the model before it was cut.
            keep: for each unit of the graph, whether it stays.
            smaller: the model that was cut.
        """
        whole = _learned(trained, graph.model, self.quantization, self.chosen)
        keys = {variable.path: key for key, variable in graph.variables.items()}
        again = regions(uses(smaller)[0], whole.kept)
        weights: dict[str, Grid] = {}
        learned = set()
        before: dict[str, Any] = {layer.name: layer for layer in graph.model.layers}
        for name, inputs in again.kernels.items():
            old = before.get(name)
            grid = None if old is None else whole.weights.get(old.kernel.path)
            if old is None or grid is None or not set(inputs) <= set(whole.activations):
                continue
            learned.add(name)
            axes = graph.weights[keys[old.kernel.path]].axes
            mine = [ids if axis in grid.axes else None for axis, ids in enumerate(axes)]
            steps = kept_values(grid.steps(tuple(old.kernel.shape)), mine, keep)
            new: Any = smaller.get_layer(name)
            weights[new.kernel.path] = grid.model_copy(
                update={"scale": tuple(steps.ravel().tolist())}
            )
        activations = {
            key: whole.activations[key] for key in again.sources if key in whole.activations
        }
        changes = {"weights": weights, "activations": activations}
        return _with_stored(whole.model_copy(update=changes), smaller, learned)


def train(
    model: keras.Model,
    quantization: Quantization,
    chosen: Regions,
    data: Dataset,
    **settings: Any,
) -> tuple[keras.Model, Quantization, Curve]:
    """Return the model trained with rounding in place, its weights on the grids that were learned.

    Args:
        model: a folded model; it is untouched.
        quantization: the grids to start from.
        chosen: what is rounded.
        data: gives the batches.
        settings: what `fit` takes besides.

    Raises:
        ModelError: the loss is no longer a number; the last good checkpoint stays.
    """
    trained, curve = fit(learning(model, quantization, chosen), data, **settings)
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
        new = _plain(twin.get_layer(layer.name))
        for source, target in paired(layer, new):
            target.assign(to_numpy(source))
        settle(layer, new)
    return twin


def finished(
    trained: keras.Model, model: keras.Model, quantization: Quantization, chosen: Regions
) -> tuple[keras.Model, Quantization]:
    """Return a plain model of stock layers with what was trained, and the grids as learned."""
    plain = copied(model)
    found = _learned(trained, model, quantization, chosen)
    for layer in plain.layers:
        for source, target in paired(_plain(trained.get_layer(layer.name)), layer):
            target.assign(to_numpy(source))
    found = _with_stored(found, plain, chosen.kernels)
    put_on_grids(plain, found.weights)
    return plain, found


def _with_stored(
    quantization: Quantization, model: keras.Model, learned: Collection[str]
) -> Quantization:
    """Return the grids with those of the weights that no steps were learned for, but are stored.

    Args:
        quantization: the grids that were learned, and the layers that are kept.
        model: with the weights as trained.
        learned: the layers that steps were learned for.
    """
    stored, _ = stored_grids(model, {*quantization.kept, *learned})
    weights = {**quantization.weights, **stored}
    return quantization.model_copy(update={"weights": weights, "stored": tuple(stored)})


def _learned(
    trained: keras.Model, model: keras.Model, quantization: Quantization, chosen: Regions
) -> Quantization:
    """Return the grids of a model as its counterpart with quantization layers has learned them."""
    weights = dict(quantization.weights)
    for name in chosen.kernels:
        kernel = model.get_layer(name).kernel
        weights[kernel.path] = trained.get_layer(name).quantizer.grid
    activations = {
        key: trained.get_layer(_name(source)).grid for key, source in chosen.sources.items()
    }
    return quantization.model_copy(update={"weights": weights, "activations": activations})


def _plain(layer: Any) -> Any:
    """Return the layer that is called with its kernel rounded, or the layer itself."""
    return layer.layer if isinstance(layer, QuantizedKernel) else layer


def _name(key: str) -> str:
    return f"step_of_{key.replace('#', '_call').replace(':', '_output')}"
