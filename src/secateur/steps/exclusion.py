"""Mixed precision: which layers stay in float32 so that quality stays within a drop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from secateur.evaluation.evaluate import evaluate
from secateur.evaluation.metrics import Metrics
from secateur.formats.calls import Use
from secateur.formats.fake import fake_quantized
from secateur.formats.grids import Quantization
from secateur.graph.weights import to_numpy
from secateur.steps.regions import regions
from secateur.steps.result import Note

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset

Attempt = Callable[[tuple[str, ...]], tuple[keras.Model, Quantization, list[Note]]]
_ROWS = 128


def excluded(
    attempt: Attempt,
    found: list[Use],
    data: Dataset,
    *,
    whole: Metrics,
    max_drop: float,
    keep: tuple[str, ...],
    x: Any,
) -> tuple[tuple[str, ...], list[Note]]:
    """Return the layers to keep in float32, the fewest of the most sensitive that will do.

    A layer is as sensitive as the outputs move when it alone is rounded. As many of the most
    sensitive are kept as it takes: none, one, two, four, ..., then halving between.

    Args:
        attempt: gives the quantized model for layers to keep.
        found: the calls of the folded model.
        data: its validation rows judge.
        whole: the metrics of the model before.
        max_drop: how many points (hundredths) may be lost.
        keep: the layers that are kept anyway.
        x: rows to see outputs move on.

    Returns:
        Their names, and what was tried.
    """
    ranked = [name for name in _ranked(attempt, found, keep, x) if name not in keep]
    notes: list[Note] = []

    def drop(count: int) -> float:
        model, quantization, _ = attempt((*keep, *ranked[:count]))
        value = evaluate(fake_quantized(model, quantization), data.validation)
        lost = round(100 * _loss(whole, value), 9)
        what = f"{count} sensitive layers in float32: {lost:.2f} points below the whole"
        notes.append(Note("quantize", "done", f"tried {what}"))
        return lost

    bad, count = -1, 0
    while drop(count) > max_drop:
        bad = count
        if count >= len(ranked):
            notes.append(Note("quantize", "skipped", "no mixture is within max_drop"))
            return (*keep, *ranked), notes
        count = min(len(ranked), max(1, 2 * count))
    while count - bad > 1:
        middle = (count + bad) // 2
        if drop(middle) > max_drop:
            bad = middle
        else:
            count = middle
    return (*keep, *ranked[:count]), notes


def _loss(whole: Metrics, now: Metrics) -> float:
    """Return how much worse the headline metric is; of an error, relative to what it was."""
    name, value = whole.headline
    _, other = now.headline
    if name in ("mae", "rmse"):
        return (other - value) / max(value, 1e-12)
    return value - other


def _ranked(attempt: Attempt, found: list[Use], keep: tuple[str, ...], x: Any) -> list[str]:
    few = tree.map_structure(lambda array: array[:_ROWS], x)
    chosen = regions(found, keep).kernels
    everything, whole, _ = attempt(keep)
    names = [layer.name for layer in everything.layers if _paths(layer, whole)]
    moved = {}
    expected = None
    for name in names:
        others = tuple(each for each in names if each != name)
        model, _, _ = attempt((*keep, *others))
        one = Quantization(
            mode=whole.mode,
            weights={path: whole.weights[path] for path in _paths(model.get_layer(name), whole)},
            activations={
                key: whole.activations[key]
                for key in chosen.get(name, ())
                if key in whole.activations
            },
        )
        if expected is None:
            float_model, _, _ = attempt((*keep, *names))
            expected = to_numpy(float_model(few, training=False))
        outputs = to_numpy(fake_quantized(model, one)(few, training=False))
        moved[name] = float(np.square(outputs - expected).mean())
    return sorted(moved, key=lambda name: -moved[name])


def _paths(layer: Any, quantization: Quantization) -> list[str]:
    return [weight.path for weight in layer.weights if weight.path in quantization.weights]
