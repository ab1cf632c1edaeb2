"""Heal: give a cut model back what it can have without labels and without training.

Going through the network once, each layer that reads changed inputs is solved again by least
squares against the outputs it used to give, on the inputs that the already cut and healed network
gives it (He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks"; Luo et al.
2017, "ThiNet"), and the statistics of batch normalisations are estimated anew. The projections of
an attention are such layers too: queries, keys and values read the stream, the output the values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import add
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
from secateur.graph.walk import CHUNK, Walk
from secateur.graph.weights import copied, to_numpy
from secateur.graph.weights import paired as weights_of
from secateur.planning.plan import Plan
from secateur.steps.lockstep import Pair, paired
from secateur.steps.readers import Reader, at, linear, reader
from secateur.steps.ridge import Change, Moments, solve
from secateur.steps.unfold import places_for

# A solved layer sees about this many rows for each of its input features.
ROWS_A_FEATURE = 12
LEAST_ROWS = 4096
MOST_FEATURES = 6144
LEAST_SAMPLES = 32
# As many of a layer's inputs as this are held at a time, in float64.
MOST_HELD = 2**24
# A layer's outputs are compared with what is known of it at so many places of so many rows.
LOOKED_AT = 4, 64
# They may differ by this share of the largest.
CLOSE = 0.01
# They need no more than their statistics, which they take from what they are given.
NORMALISATIONS = (
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


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

    Each layer is solved for what it used to give; that does not promise as much of what the model
    gives. Where its outputs on the rows are then further off (in the mean square) than right after
    the cut, the model is left as cut.

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
    pairs = paired(before, after, keep)
    if old.rows < LEAST_SAMPLES:
        enough = _enough(pairs or [], after)
        best = f"{enough} give each layer as many places as it has inputs"
        raise DataError(
            f"healing needs at least {LEAST_SAMPLES} rows, received {old.rows}.",
            mend="Give more rows (labels are not needed"
            + (f"; {best}" if enough > LEAST_SAMPLES else "")
            + "), or switch healing off: heal=False.",
        )
    fixed = {tensor.shape[0] for tensor in before.model.inputs} - {None, old.rows}
    if fixed:
        raise DataError(
            f"the model takes {min(fixed)} rows at a time, received {old.rows} to heal it with.",
            mend="Build the model without a fixed batch size, or switch healing off: heal=False.",
        )
    rng = np.random.default_rng(seed)
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
        weights = getattr(layer, "weights", ())
        if touched and weights:
            normalises = isinstance(layer, layers.BatchNormalization)
            if any(counts[id(weight)] > 1 for weight in weights):
                done.append(Healed(now.path, "left as cut: its weights are used more than once"))
            elif normalises:
                axis = layer.axis % new.inputs(now)[0].ndim
                _estimate(layer, *new.live(now.inputs[0], (axis,)))
                done.append(Healed(now.path, "statistics estimated anew"))
            elif readers and now.rule != Elementwise() and not isinstance(layer, NORMALISATIONS):
                done.append(_solve_reader(old, new, was, now, keep, rng))
        if touched or before.tensors[was.outputs[0]].shape != after.tensors[now.outputs[0]].shape:
            changed.update(now.outputs)
        old.step(was)
        new.step(now)
    if not readers:
        return healed, tuple(done)
    as_cut, left = _apart(old, smaller, x), _apart(old, healed, x)
    if np.isnan(as_cut):
        why = "left as cut: not all that the model gives on these rows is a number"
        return copied(smaller), (*done, Healed(smaller.name, why))
    if np.isfinite(as_cut) and not left <= as_cut:
        worse = f"left as cut: healed, its outputs are further off ({left:.3g}) than so"
        return copied(smaller), (Healed(smaller.name, f"{worse} ({as_cut:.3g})"),)
    return healed, tuple(done)


def _apart(walk: Walk, other: keras.Model, x: Any) -> float:
    """Return the mean square by which another model's outputs differ, as a share of their own."""
    total = 0.0
    pairs = zip(walk.outputs(walk.graph.model, x), walk.outputs(other, x), strict=True)
    for wanted, found in pairs:
        size = float(np.square(wanted, dtype=np.float64).mean())
        apart = float(np.square(wanted - found, dtype=np.float64).mean())
        total += apart / max(size, np.finfo(float).tiny)
    return total


def _uses(graph: Graph) -> Counter[int]:
    """Count how many calls use each weight."""
    held = [id(each) for each in graph.constants.values()]
    for call in graph.calls:
        held += [id(weight) for weight in getattr(call.operation, "weights", ())]
    return Counter(held)


def _estimate(layer: Any, x: np.ndarray, axes: tuple[int, ...]) -> None:
    others = tuple(a for a in range(x.ndim) if a not in axes)
    layer.moving_mean.assign(x.mean(others, dtype=np.float64))
    layer.moving_variance.assign(x.var(others, dtype=np.float64))


def _enough(pairs: list[Pair], after: Graph) -> int:
    """Return for how many samples every layer that may be solved has a place for each input."""
    most = LEAST_SAMPLES
    for now in (pair.now for pair in pairs if pair.now is not None):
        read = _reader(after, now)
        if isinstance(read, Reader) and read.sizes[1] <= MOST_FEATURES:
            rows = prod(after.tensors[now.outputs[0]].shape[: read.fold])
            most = max(most, samples_for(read, rows))
    return most


def _reader(graph: Graph, call: Call) -> Reader | str:
    """Return how a call is a product of matrices, in the shapes that it was traced in."""
    if not call.inputs or not getattr(call.operation, "weights", ()):
        return f"{call.path} has no weights"
    inputs, outputs = (graph.tensors[each[0]].shape for each in (call.inputs, call.outputs))
    return reader(call.operation, inputs, outputs)


def samples_for(read: Reader, rows: int) -> int:
    """Return for how many samples four fifths of the places are as many as there are inputs."""
    return -(-5 * read.sizes[1] // (4 * rows * prod(read.places)))


def _solve_reader(
    old: Walk, new: Walk, was: Call, now: Call, keep: np.ndarray, rng: np.random.Generator
) -> Healed:
    read = _reader(new.graph, now)
    if isinstance(read, str):
        return Healed(now.path, f"left as cut: {read}")
    if read.sizes[1] > MOST_FEATURES:
        return Healed(now.path, f"left as cut: {read.sizes[1]} inputs are too many to solve for")
    x, plain = new.inputs(now)[0], linear(now.operation)
    y = new.run(now, plain)
    # The lengths that the model leaves open are those of the data now.
    read = reader(now.operation, x.shape, y.shape)
    assert isinstance(read, Reader)
    # What none of its own constants takes up, a normalisation behind it does.
    offset = read.laid is not None or _feeds_normalisation(new.graph, now)
    axes = old.graph.tensors[was.outputs[0]].axes
    target = kept_values(old.run(was, linear(was.operation)), axes, keep)
    target = target * _scale(old.graph, was.operation, now.operation, read, keep)
    x, y, missing = (read.folded(each) for each in (x, y, target - y))
    mask = new.masks.get(now.inputs[0])
    if mask is not None and mask.ndim == read.fold and mask.any():
        x, y, missing = (each[mask.reshape(-1)] for each in (x, y, missing))
    if not (np.isfinite(x).all() and np.isfinite(missing).all()):
        return Healed(now.path, "left as cut: not all that it reads and gives is finite")
    bias = read.folded(to_numpy(plain(np.zeros_like(new.inputs(now)[0][:CHUNK]))))
    if not _restates(read, x, y, bias, rng):
        kind = type(now.operation).__name__
        return Healed(now.path, f"left as cut: {kind} computes otherwise than is known of it")
    moments = moments_of(read, x, missing, rng)
    change = solve(*moments, offset=offset)
    read.write(read.matrices() + change.weights, change.offset)
    done = _told(change, read, moments[0].rows, max(1, len(x) // new.rows))
    return Healed(now.path, done, change.explained)


def _restates(
    read: Reader, x: np.ndarray, y: np.ndarray, bias: np.ndarray, rng: np.random.Generator
) -> bool:
    """Say whether a layer gives what its reader takes it to give."""
    rows, count = LOOKED_AT
    x, given = x[:rows], read.made(y[:rows] - bias[:rows])
    places = places_for(len(x), read.places, count, rng)
    said = np.einsum("npgf,gfu->npgu", read.seen(x, places), read.matrices())
    return bool(np.abs(said - at(given, places)).max() <= CLOSE * np.abs(given).max())


def moments_of(
    read: Reader, x: np.ndarray, missing: np.ndarray | None, rng: np.random.Generator
) -> tuple[Moments, Moments]:
    """Sum over four fifths of the samples, to fit, and over the others, to choose the penalty.

    Args:
        read: how the layer is a product of matrices.
        x: its inputs.
        missing: what is missing from its outputs; `None` sums over the inputs alone.
        rng: chooses the places that are looked at.
    """
    groups, features, _ = read.sizes
    wanted = max(LEAST_ROWS, ROWS_A_FEATURE * features)
    places = places_for(len(x), read.places, max(1, -(-wanted // len(x))), rng)
    made = None if missing is None else read.made(missing)
    step = max(1, MOST_HELD // (places.shape[1] * groups * features))

    def grouped(array: np.ndarray) -> np.ndarray:
        rows, count, groups, columns = array.shape
        return array.transpose(2, 0, 1, 3).reshape(groups, rows * count, columns)

    def pieces(start: int, stop: int) -> Iterator[Moments]:
        for first in range(start, stop, step):
            rows = slice(first, min(first + step, stop))
            seen = read.seen(x[rows], places[rows])
            lost = seen[..., :0] if made is None else at(made[rows], places[rows])
            yield Moments.of(grouped(seen), grouped(lost))

    cut = len(x) * 4 // 5
    return reduce(add, pieces(0, cut)), reduce(add, pieces(cut, len(x)))


def _scale(graph: Graph, was: Any, now: Any, read: Reader, keep: np.ndarray) -> float:
    """Return what the cut has multiplied a kernel by, besides making it smaller.

    The queries of an attention make up for the root of the size of its heads.
    """
    source = next(old for old, new in weights_of(was, now) if new is read.weight)
    key = next(key for key, variable in graph.variables.items() if variable is source)
    kept = kept_values(to_numpy(source), graph.weights[key].axes, keep).astype(np.float64)
    kernel = to_numpy(read.weight)
    if kept.shape != kernel.shape or not kept.any():
        return 1.0
    scale = float(np.vdot(kept, kernel) / np.vdot(kept, kept))
    return scale if np.allclose(scale * kept, kernel, rtol=1e-3, atol=1e-6) else 1.0


def _told(change: Change, read: Reader, fitted: int, rows: int) -> str:
    """Say what was done, on how many places if they are few, and where it was hard.

    `rows` is how many rows of the layer a sample gives.
    """
    done = "weights solved anew"
    if fitted < read.sizes[1]:
        done += f" on {fitted} places for {read.sizes[1]} inputs"
        done += f" ({samples_for(read, rows)} samples would give as many)"
    if change.degenerate:
        done += f", by pseudo-inverse in {change.degenerate} of {read.sizes[0]} ill-conditioned"
    return done


def _feeds_normalisation(graph: Graph, call: Call) -> bool:
    readers = [other for other in graph.calls if call.outputs[0] in other.inputs]
    return bool(readers) and all(
        isinstance(reader.operation, layers.BatchNormalization) for reader in readers
    )
