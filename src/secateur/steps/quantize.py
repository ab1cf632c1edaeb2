"""Quantize: eight bits to a number, ranges from data, float32 where integers cost too much."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from keras import tree

from secateur.cost.measure import measure
from secateur.errors import DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.formats.calls import Use, uses
from secateur.formats.fake import fake_quantized, multiplied_in
from secateur.formats.grids import MODES, Grid, Mode, Quantization
from secateur.formats.overflow import overflows
from secateur.formats.parity import agreement
from secateur.graph.weights import copied, to_numpy
from secateur.steps.asked import (
    TRAINING,
    check_dataset,
    check_flags,
    check_idle,
    check_names,
    check_points,
    check_trained,
    check_whole,
)
from secateur.steps.aware import train
from secateur.steps.calibration import Histogram, method_of, observed
from secateur.steps.equalize import correct_bias, equalize
from secateur.steps.exclusion import excluded
from secateur.steps.folding import fold
from secateur.steps.order import GRIDS, NOTHING, ZEROS
from secateur.steps.regions import KERNELS, Regions, regions
from secateur.steps.result import Note, Result, Stage
from secateur.steps.rounding import (
    grid_of,
    put_on_grids,
    stored_bytes,
    stored_grids,
    weight_grids,
)

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.steps.training import Curve

STEP = "quantize"
LEAST = 32
_BATCH = 64


@dataclass(frozen=True)
class Quantize:
    """Round a model's weights, and find the ranges to round its activations to.

    The result's model computes in float32, in stock layers, with its weights on their grids; the
    grids are in the result's `quantization`, for `fake_quantized` and for the export.

    Args:
        to: the type of the integers; `int8` is the one there is.
        mode: `static` for products of convolutions and Dense layers in integers, with fixed ranges
            (other weights, those of recurrent layers aside, are only stored in integers);
            `dynamic` for those of Dense and LSTM kernels, with ranges found at each call;
            `weights` for integers in the file alone.
        bits: 4 stores Dense kernels in four bits, in mode `weights`.
        calibration: how a range comes of the values seen: `minmax`, `percentile`, `entropy`, `mse`.
        equalize: even out the ranges of channels between layers first.
        correct_bias: take out of the biases what rounding shifts on average.
        reduce_range: seven bits for weights: on x86 processors without VNNI sums of eight-bit
            products can overflow. `None` asks this processor, and a note says what it told; where
            the file is to run on others as well, True is the safe choice.
        epochs: above 0, train on with rounding in place, the steps being learned (static mode).
        batch_size: rows a step of that training; `None` chooses by the number of rows.
        learning_rate: its highest rate.
        patience: stop it after so many epochs without a better one.
        class_weights: weigh classes alike, or by a mapping.
        augment: what to vary in its rows.
        max_drop: keep the most sensitive layers in float32 until the metric on the validation rows
            is within so many points.
        keep: patterns of layers that stay in float32.
        samples: how many training rows the ranges are taken from.
        checkpoint: a folder that keeps the state of the training after every epoch, and within.
        resume: go on from the state in `checkpoint`, if there is one.
        seed: which rows these are; of the training, the order of rows and the dropout.
        verbose: show a progress bar while it trains.
    """

    to: str = "int8"
    mode: Mode = "static"
    bits: int = 8
    calibration: str = "minmax"
    equalize: bool = True
    correct_bias: bool = True
    reduce_range: bool | None = None
    epochs: int = 0
    batch_size: int | None = None
    learning_rate: float = 1e-4
    patience: int | None = None
    class_weights: bool | Mapping[str, float] = False
    augment: bool | Mapping[str, Any] | None = None
    max_drop: float | None = None
    keep: tuple[str, ...] = ()
    samples: int = 512
    checkpoint: str | None = None
    resume: bool = False
    seed: int = 0
    verbose: bool = False

    leaves: ClassVar[str] = GRIDS

    @property
    def spares(self) -> frozenset[str]:
        """Return what this does not undo: zeros stay zero on a grid, but not in training."""
        return NOTHING if self.epochs else frozenset({ZEROS})

    def __post_init__(self) -> None:
        check_whole(STEP, 0, epochs=self.epochs)
        check_whole(STEP, 1, samples=self.samples)
        check_flags(STEP, equalize=self.equalize, correct_bias=self.correct_bias)
        if self.reduce_range is not None:
            check_flags(STEP, reduce_range=self.reduce_range)
        check_names(STEP, keep=self.keep)
        check_points(STEP, max_drop=self.max_drop)
        check_trained(self, STEP)
        _check_choice("to", self.to, ("int8",))
        _check_choice("mode", self.mode, MODES)
        _check_choice("bits", self.bits, (4, 8))
        method_of(self.calibration)
        if self.bits == 4 and self.mode != "weights":
            raise _wrong("bits", f"4 goes with mode='weights', received mode={self.mode!r}")
        if self.reduce_range and self.mode == "weights":
            raise _wrong("reduce_range", "it is for products in integers, received mode='weights'")
        if self.epochs and self.mode != "static":
            raise _wrong("epochs", f"training goes with mode='static', received {self.mode!r}")
        if self.mode != "static":
            for name in ("calibration", "equalize", "correct_bias"):
                if getattr(self, name) != getattr(Quantize, name):
                    raise _wrong(name, f"it is for fixed ranges, received mode={self.mode!r}")
        check_idle(
            self,
            STEP,
            TRAINING,
            "is of the training, and epochs is 0",
            "give epochs=5",
            idle=not self.epochs,
        )
        check_idle(
            self,
            STEP,
            ("samples",),
            "says how many rows ranges are taken from, and none are fixed",
            "give mode='static'",
            idle=self.mode != "static" and self.max_drop is None,
        )

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the quantized model; the given one is untouched.

        Args:
            model: a built functional or Sequential model.
            data: for ranges, sensitivity and training; only `weights` and `dynamic` without
                max_drop do without it.

        Raises:
            DataError: there is no data where it is needed, or too little of it.
            PlanError: there is no such layer to keep, or nothing to quantize.
            ModelError: the model has no functional graph or does not fit the data, or the training
                diverged; the last good checkpoint stays.
        """
        if data is not None:
            labels = self.max_drop is not None or self.epochs > 0
            check_dataset(data, "ranges are taken from", STEP, model, labels=labels)
        start = time.perf_counter()
        folded = fold(model)
        notes = list(folded.notes)
        found, ends = uses(folded.model)
        asked = self._kept(folded.model)
        x = self._rows(data)
        if self.equalize and self.mode == "static":
            count = equalize(found, ends)
            notes.append(Note(STEP, "done", f"ranges equalized between {count} pairs of layers"))
        seen = self._seen(folded.model, found, x)
        bits, said = self._bits()
        notes += said

        def attempt(kept: tuple[str, ...]) -> tuple[keras.Model, Quantization, list[Note]]:
            return self._rounded(folded.model, found, seen, kept, bits)

        kept = asked
        if self.max_drop is not None and data is not None:
            whole = evaluate(model, data.validation)
            kept, tried = excluded(
                attempt, found, data, whole=whole, max_drop=self.max_drop, keep=asked, x=x
            )
            notes += tried
        rounded, quantization, told = attempt(kept)
        notes += told
        stages = [Stage("quantized", rounded, time.perf_counter() - start)]
        curves: list[tuple[str, Curve]] = []
        if self.epochs and data is not None:
            begin = time.perf_counter()
            rounded, quantization, curve = train(
                rounded,
                quantization,
                regions(found, kept),
                data,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                patience=self.patience,
                class_weights=self.class_weights,
                augment=self.augment,
                checkpoint=self.checkpoint,
                resume=self.resume,
                seed=self.seed,
                verbose=self.verbose,
            )
            notes.append(Note(STEP, "done", f"{curve.epochs} epochs with rounding in place"))
            stages.append(Stage("quantized, trained", rounded, time.perf_counter() - begin))
            curves.append(("quantized, trained", curve))
        before = measure(model)
        size = stored_bytes(rounded, quantization.weights)
        after = measure(rounded).model_copy(update={"bytes": size})
        return Result(
            rounded,
            before,
            after,
            notes=tuple(notes),
            stages=tuple(stages),
            curves=tuple(curves),
            quantization=quantization,
        )

    def _rows(self, data: Dataset | None) -> Any:
        if data is None:
            if self.mode == "static" or self.max_drop is not None:
                needs = "static quantization" if self.max_drop is None else "max_drop"
                raise DataError(
                    f"{needs} needs data, and none was given.",
                    where=STEP,
                    mend="Pass a Dataset, or use mode='weights'.",
                )
            return None
        if self.max_drop is not None and not data.validation.rows:
            raise DataError(
                "max_drop needs validation rows to judge a model on, and there are none.",
                where=STEP,
                mend="Pass a Dataset with a validation split.",
            )
        x, _ = data.train.sample(self.samples, seed=self.seed)
        rows = len(tree.flatten(x)[0])
        if rows < LEAST and self.mode == "static":
            raise DataError(
                f"calibration needs at least {LEAST} rows, and received {rows}.",
                where=STEP,
                mend="Give more training rows, or raise `samples`.",
            )
        return x

    def _kept(self, model: Any) -> tuple[str, ...]:
        """Return the names of the layers that `keep` means."""
        names = [layer.name for layer in model.layers]
        for pattern in self.keep:
            if not any(fnmatch(name, pattern) for name in names):
                raise PlanError(
                    f"there is no layer {pattern!r} to keep.",
                    where=f"{STEP}.keep",
                    mend=f"Layers are {', '.join(names[:8])}{', ...' if names[8:] else ''}.",
                )
        return tuple(name for name in names if any(fnmatch(name, pattern) for pattern in self.keep))

    def _seen(self, model: Any, found: list[Use], x: Any) -> dict[str, Histogram]:
        """Return what was seen of every tensor that may be rounded."""
        if self.mode != "static":
            return {}
        keys = sorted(set(regions(found).sources.values()) | set(regions(found).sources))
        return observed(model, keys, batches(x)) if keys else {}

    def _bits(self) -> tuple[int, list[Note]]:
        """Return how many bits weights have, and a note where the processor has said so."""
        if self.mode == "weights" or self.reduce_range is not None:
            return (7 if self.reduce_range else self.bits), []
        if overflows():
            what = "weights have seven bits: sums of eight-bit products overflow on this processor"
            return 7, [Note(STEP, "done", what)]
        what = (
            "weights have eight bits, of which sums hold on this processor; for x86 processors "
            "without VNNI use reduce_range=True"
        )
        return 8, [Note(STEP, "done", what)]

    def _rounded(
        self,
        folded: keras.Model,
        found: list[Use],
        seen: dict[str, Histogram],
        kept: tuple[str, ...],
        bits: int,
    ) -> tuple[keras.Model, Quantization, list[Note]]:
        """Return a copy with its weights on grids, the grids, and notes."""
        model = copied(folded)
        asked = self._kept(folded)
        why = {name: "kept as asked" if name in asked else "sensitive" for name in kept}
        static = self.mode == "static"
        chosen = regions(found, kept) if static else Regions({}, {})
        grids = self._static(model, chosen, seen, bits)
        calibrate = method_of(self.calibration)
        ranges = {key: Grid.between(*calibrate(seen[key])) for key in set(chosen.sources.values())}
        activations = {key: ranges[source] for key, source in chosen.sources.items()}
        beside = {*why, *chosen.kernels}
        others, without = (
            stored_grids(model, beside) if static else weight_grids(model, beside, bits=bits)
        )
        put_on_grids(model, others)
        why |= {name: _without(model.get_layer(name), static) for name in without}
        made = Quantization(
            mode=self.mode,
            weights=grids | others,
            activations=activations,
            stored=tuple(others) if static else (),
            kept=why,
        )
        return model, made, self._told(model, made)

    def _static(
        self, model: Any, chosen: Regions, seen: dict[str, Histogram], bits: int
    ) -> dict[str, Grid]:
        grids = {}
        for name, inputs in chosen.kernels.items():
            layer = model.get_layer(name)
            kernel = to_numpy(layer.kernel)
            grid = grid_of(layer.kernel, KERNELS[type(layer)], bits=bits)
            grids[layer.kernel.path] = grid
            error = grid.rounded(kernel) - kernel
            layer.kernel.assign(grid.rounded(kernel))
            if self.correct_bias:
                correct_bias(layer, error, [np.asarray(seen[key].mean) for key in inputs])
        return grids

    def _told(self, model: Any, made: Quantization) -> list[Note]:
        what = f"{len(made.weights)} weights, {len(made.activations)} activations, {made.mode}"
        notes = [Note(STEP, "done", what)]
        if not made.weights:
            notes.append(Note(STEP, "skipped", "no weight could be quantized"))
        notes += [
            Note(STEP, "skipped", f"stays in float32: {why}", name)
            for name, why in made.kept.items()
        ]
        notes += [
            Note(STEP, "done", "stored in integers, multiplied in float32", layer.name)
            for layer in model.layers
            if any(weight.path in made.stored for weight in layer.weights)
        ]
        return notes


def batches(x: Any, size: int = _BATCH) -> Iterator[Any]:
    """Yield slices of some rows."""
    rows = len(tree.flatten(x)[0])
    for start in range(0, rows, size):
        yield tree.map_structure(lambda array, at=start: array[at : at + size], x)


def judged(model: keras.Model, quantization: Quantization, x: Any) -> float:
    """Return the share of rows on which rounding leaves a model's answer as it was."""
    rounded = fake_quantized(model, quantization)
    pairs = [(model(part, training=False), rounded(part, training=False)) for part in batches(x)]
    one, other = (
        np.concatenate([to_numpy(each) for each in side]) for side in zip(*pairs, strict=True)
    )
    return agreement(one, other)


def _without(layer: Any, static: bool) -> str:
    """Return why the weights of a layer cannot be in integers."""
    if not static:
        return "no rule for its weights"
    what = f"{type(layer).__name__} has no integer operator with fixed ranges"
    return f"{what}; mode dynamic has one" if multiplied_in(layer) else what


def _check_choice(name: str, value: object, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise PlanError(
            f"there is no {name} {value!r}.",
            where=f"{STEP}.{name}",
            mend=f"Use {' or '.join(repr(each) for each in known)}.",
        )


def _wrong(name: str, what: str) -> PlanError:
    return PlanError(f"{name}: {what}.", where=f"{STEP}.{name}", mend=f"Change {name} or mode.")
