"""Heal: give a cut model back what it can have without labels and without training.

Going through the network once, each layer that reads changed inputs is solved again by least
squares against the outputs it used to give, on the inputs that the already cut and healed network
gives it (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks"; Luo et al.
2017, "ThiNet"), and the statistics of batch normalisations are estimated anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np
from keras import layers

from secateur.errors import DataError
from secateur.graph.graph import Graph
from secateur.graph.rebuild import kept_values
from secateur.graph.rule import Elementwise
from secateur.graph.sweep import Call
from secateur.graph.trace import trace
from secateur.graph.weights import copied, to_numpy
from secateur.planning.plan import Plan
from secateur.steps.lockstep import Walk, paired
from secateur.steps.ridge import Moments, solve
from secateur.steps.unfold import places_for, unfold

# A solved layer sees about this many rows for each of its input features.
ROWS_A_FEATURE = 12
LEAST_ROWS = 4096
MOST_FEATURES = 6144
LEAST_SAMPLES = 32


@dataclass(frozen=True)
class Healed:
    """What was done to one layer; `explained` is the share of its lost output that came back."""

    layer: str
    done: str
    explained: float | None = None


def heal(
    smaller: keras.Model,
    original: keras.Model,
    plan: Plan,
    x: Any,
    *,
    readers: bool = True,
    seed: int = 0,
) -> tuple[keras.Model, tuple[Healed, ...]]:
    """Return a healed copy of a cut model, and what was done to which layer.

    Args:
        smaller: what `cut(original, plan)` gave.
        original: the model before the cut.
        plan: the plan that was cut by.
        x: inputs without labels, a few hundred rows, as `Split.sample` returns them.
        readers: whether to solve the layers that read changed inputs; otherwise only the
            statistics of batch normalisations are estimated anew.
        seed: which output positions of convolutions are looked at.

    Raises:
        DataError: there are too few rows.
        PlanError: the plan does not belong to the original.
    """
    before = trace(original)
    keep = plan.keep(before)
    healed = copied(smaller)
    after = trace(healed)
    old, new = Walk(before, x), Walk(after, x)
    if old.rows < LEAST_SAMPLES:
        raise DataError(
            f"healing needs at least {LEAST_SAMPLES} rows, received {old.rows}.",
            mend="Give more rows (labels are not needed), or switch healing off: heal=False.",
        )
    fixed = {tensor.shape[0] for tensor in before.model.inputs} - {None, old.rows}
    if fixed:
        raise DataError(
            f"the model takes {min(fixed)} rows at a time, received {old.rows} to heal it with.",
            mend="Build the model without a fixed batch size, or switch healing off: heal=False.",
        )
    rng = np.random.default_rng(seed)
    pairs = paired(before, after, keep)
    if pairs is None:
        why = "left as cut: a composite layer was laid open, so the wiring is another"
        return healed, (Healed(smaller.name, why),)
    changed: set[int] = set()
    counts = _uses(after)
    done = []
    for pair in pairs:
        was, now = pair.was, pair.now
        if now is None:
            # What read the sum of a removed block reads its stream now.
            changed.update(() if pair.stream is None else (pair.stream,))
            old.step(was)
            continue
        touched = changed.intersection(now.inputs)
        layer = now.operation
        if touched and counts[now.path] == 1:
            if isinstance(layer, layers.BatchNormalization):
                _estimate(layer, new.inputs(now)[0])
                done.append(Healed(now.path, "statistics estimated anew"))
            elif readers and _is_reader(layer):
                done.append(_solve_reader(old, new, was, now, keep, rng))
            elif readers and getattr(layer, "weights", ()) and now.rule != Elementwise():
                kind = type(layer).__name__
                done.append(Healed(now.path, f"left as cut: {kind} is not solved for"))
        if touched or before.tensors[was.outputs[0]].shape != after.tensors[now.outputs[0]].shape:
            changed.update(now.outputs)
        old.step(was)
        new.step(now)
    return healed, tuple(done)


def _uses(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for call in graph.calls:
        counts[call.path] = counts.get(call.path, 0) + 1
    return counts


def _estimate(layer: Any, x: np.ndarray) -> None:
    axis = layer.axis % x.ndim
    others = tuple(a for a in range(x.ndim) if a != axis)
    layer.moving_mean.assign(x.mean(others, dtype=np.float64))
    layer.moving_variance.assign(x.var(others, dtype=np.float64))


def _is_reader(layer: Any) -> bool:
    if isinstance(layer, layers.Dense):
        return True
    convolution = isinstance(layer, (layers.Conv1D, layers.Conv2D, layers.Conv3D))
    return convolution and layer.data_format == "channels_last"


def _solve_reader(
    old: Walk, new: Walk, was: Call, now: Call, keep: np.ndarray, rng: np.random.Generator
) -> Healed:
    layer = now.operation
    kernel = to_numpy(layer.kernel).copy()
    features = prod(kernel.shape[:-1])
    if features > MOST_FEATURES:
        return Healed(now.path, f"left as cut: {features} inputs are too many to solve for")
    offset = layer.use_bias or _feeds_normalisation(new.graph, now)
    axes = old.graph.tensors[was.outputs[0]].axes
    target = kept_values(old.run(was, _linear(was.operation)), axes, keep)
    missing = target - new.run(now, _linear(layer))
    x, missing = _rows(layer, new.inputs(now)[0], missing, features, rng)
    groups = getattr(layer, "groups", 1)
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    explained, shifts = [], []
    for group in range(groups):
        part = x[..., group * inputs : (group + 1) * inputs]
        part = part.reshape(*part.shape[:2], -1)
        columns = slice(group * outputs, (group + 1) * outputs)
        change = _fit(part, missing[..., columns], offset)
        kernel[..., columns] += change.weights.reshape(kernel[..., columns].shape)
        shifts.append(change.offset)
        explained.append(change.explained)
    layer.kernel.assign(kernel)
    if layer.use_bias:
        layer.bias.assign(to_numpy(layer.bias) + np.concatenate(shifts))
    return Healed(now.path, "weights solved anew", float(np.mean(explained)))


def _fit(x: np.ndarray, missing: np.ndarray, offset: bool) -> Any:
    """Solve on four fifths of the samples; the others choose the penalty."""
    cut = len(x) * 4 // 5
    fitted, held = (
        Moments.of(x[rows].reshape(-1, x.shape[-1]), missing[rows].reshape(-1, missing.shape[-1]))
        for rows in (slice(None, cut), slice(cut, None))
    )
    return solve(fitted, held, offset=offset)


def _rows(
    layer: Any, x: np.ndarray, missing: np.ndarray, features: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (rows, places, ..., channels) and missing outputs (rows, places, units)."""
    rows = len(x)
    if isinstance(layer, layers.Dense):
        kernel: tuple[int, ...] = ()
        space = missing.shape[1:-1]
        x = x.reshape(rows, -1, x.shape[-1])
    else:
        kernel, space = layer.kernel_size, missing.shape[1:-1]
    wanted = max(LEAST_ROWS, ROWS_A_FEATURE * features)
    places = places_for(rows, space, max(1, -(-wanted // rows)), rng)
    missing = missing.reshape(rows, -1, missing.shape[-1])
    missing = np.take_along_axis(missing, places[..., None], axis=1)
    if not kernel:
        return np.take_along_axis(x, places[..., None], axis=1), missing
    seen = unfold(
        x,
        kernel=kernel,
        strides=layer.strides,
        dilation=layer.dilation_rate,
        padding=layer.padding,
        outputs=space,
        places=places,
    )
    return seen, missing


def _linear(layer: Any) -> Any:
    """Return a copy of a layer without its activation."""
    if getattr(layer.activation, "__name__", "linear") == "linear":
        return layer
    twin = type(layer).from_config({**layer.get_config(), "activation": None})
    twin.build(layer._build_shapes_dict["input_shape"])
    twin.set_weights(layer.get_weights())
    return twin


def _feeds_normalisation(graph: Graph, call: Call) -> bool:
    readers = [other for other in graph.calls if call.outputs[0] in other.inputs]
    return bool(readers) and all(
        isinstance(reader.operation, layers.BatchNormalization) for reader in readers
    )
