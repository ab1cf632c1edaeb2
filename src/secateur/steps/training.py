"""Train a copy of a model on a data set: quiet, seeded, and resumable to the same result.

Everything random is a function of the seed, the epoch and the batch, so a training that was broken
off, be it in the midst of an epoch, and resumed gives what it would have given in one go.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np

from secateur.errors import DataError, RecipeError
from secateur.graph.functional import laid_out
from secateur.graph.observe import loss_for
from secateur.graph.randomness import own_randomness, seed_layers, seeding
from secateur.graph.weights import copied
from secateur.machine import cores
from secateur.steps.asked import check_dataset, is_number
from secateur.steps.bar import Bar
from secateur.steps.keeper import Keeper
from secateur.steps.replicas import ALONE, Replica, divisible, share

if TYPE_CHECKING:
    from secateur.data.augment import Augmentation
    from secateur.data.dataset import Dataset
    from secateur.steps.teaching import Around


WORKERS = min(2, cores())


@dataclass(frozen=True)
class Curve:
    """What a training showed.

    Args:
        metrics: for each figure ("loss", "accuracy", "val_loss", ...) one value an epoch.
        best: the epoch, from 0, whose weights were kept.
        monitor: the figure that says which epoch was best.
        seconds: how long this call took; epochs done before a resume are not in it.
    """

    metrics: Mapping[str, tuple[float, ...]]
    best: int
    monitor: str
    seconds: float

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.metrics.get("loss", ()))


class Guide(Protocol):
    """A callback with a say in how a training is set up.

    Attributes:
        settled: the first epoch, from 0, that may be the best one.
        kept: says which state of the training is kept, for its errors; it is set by `fit`.
    """

    settled: int
    kept: Callable[[], str]

    @property
    def identity(self) -> str:
        """Return what tells it from others; it goes into the identity of the training."""
        ...

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """Return the optimizer for a learning rate."""
        ...

    def prepare(self, model: keras.Model, steps: int, epochs: int) -> None:
        """See the compiled copy before it is trained, for `epochs` of `steps` steps at most."""
        ...


def fit(
    model: keras.Model,
    data: Dataset,
    *,
    epochs: int = 30,
    until: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    patience: int | None = None,
    class_weights: bool | Mapping[str, float] = False,
    augment: bool | Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
    seed: int = 0,
    verbose: bool = False,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    guide: Guide | None = None,
    teaching: Around | None = None,
    replica: Replica = ALONE,
) -> tuple[keras.Model, Curve]:
    """Train a copy of a model and give back the copy, with the weights of its best epoch.

    Adam with a short warm-up and a cosine decay to zero. The best epoch is the one with the lowest
    loss on the validation split (on the training split where there is no validation split).

    Args:
        model: where to start; it is untouched.
        data: gives the batches; `train` is learned from, `validation` is watched.
        epochs: how often the training split is passed over, at most.
        until: leave off after so many of the epochs, in the midst of what is scheduled for all.
        batch_size: rows a step; None chooses 32 to 1024 by the number of rows.
        learning_rate: the highest rate.
        patience: stop after so many epochs without a better one; None trains all epochs.
        class_weights: True weighs every class alike, whatever its share of the rows; a mapping
            gives a weight to each class by name.
        augment: what to vary in the training rows: arguments of `augmentation`, or True for its
            defaults.
        checkpoint: a folder that keeps the state after every epoch, and within; with PyTorch, and
            with several workers, after epochs alone.
        resume: go on from the state in `checkpoint` if there is one.
        checkpoint_seconds: within an epoch, the state is saved so often.
        seed: gives the order of rows, the variation and the dropout.
        verbose: show a progress bar.
        callbacks: more Keras callbacks; in a training that is resumed in the midst of an epoch they
            see that epoch, and those after it, as two trainings.
        guide: one more, which chooses the optimizer and sees the copy before it is trained.
        teaching: what the copy learns from beside the labels; not together with a guide.
        replica: which of several workers that train the same copy together this one is.

    Returns:
        The trained model (not compiled) and its curve.

    Raises:
        DataError: data is no Dataset, there are no training rows, or files can no longer be read;
            the last good checkpoint stays.
        ModelError: the model does not fit the data, or the loss is no longer a number; the last
            good checkpoint stays.
        OutputError: a checkpoint cannot be written, or belongs to another training.
    """
    check_training(epochs, batch_size, learning_rate, patience)
    check_dataset(data, "a model is trained on", "fit", model, labels=True)
    model = laid_out(model)
    if data.train.rows == 0:
        raise DataError("there are no rows to train on.", where="train")
    start = time.perf_counter()
    batch = batch_size or default_batch_size(data.train.rows)
    changes = _augmentation(data, augment, seed)
    # Mixed labels are shares of classes; those of two classes may be the share of the second alone.
    mixed = changes is not None and changes.mixes and data.contract.task == "classification"
    one_hot = mixed and model.output_shape[-1] > 1
    batches = data.train.batches(
        batch,
        shuffle=True,
        seed=seed,
        augment=changes,
        class_weights=class_weights,
        one_hot=one_hot,
        workers=_workers(data, changes) if replica.workers == 1 else 0,
    )
    judged = None
    if data.validation.rows:
        judged = data.validation.batches(
            divisible(max(batch, 256), replica.workers),
            class_weights=class_weights,
            one_hot=one_hot,
        )
    # Keras annotates fit and compile too narrowly for a type checker.
    twin: Any = copied(model)
    seed_layers(twin, seed)
    make = replica.optimizer(keras.optimizers.Adam if guide is None else guide.optimizer)
    labels = data.train.sample(1)[1]
    learner: Any = twin if teaching is None else teaching.pupil(twin, labels)
    loss = _softened(loss_for(twin, labels)) if one_hot else loss_for(twin, labels)
    _compile(learner, loss, data, len(batches), epochs, learning_rate, make)
    guides: list[Any] = []
    if guide is not None:
        guide.prepare(twin, len(batches), epochs)
        guides = [guide]
    more = [*guides, *([] if teaching is None else [teaching])]
    settings = (epochs, batch, learning_rate, class_weights, augment, seed, *batches.layout)
    if replica.workers > 1:
        settings = (*settings, replica.workers)
    seeded = seeding(twin, seed, replica.rank)
    # What is seeded by the epoch, or shared by several, goes on from the end of one.
    within = replica.workers == 1 and not seeded
    # What learns around the copy may keep it inside, or have weights of its own.
    alone, student = learner is twin, getattr(learner, "student", None)
    keeper = Keeper(
        batches,
        monitor="loss" if judged is None else "val_loss",
        patience=patience,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        identity=_identity(model, data, *settings, *(each.identity for each in more)),
        advice=f"Lower learning_rate, now {learning_rate:g}, or check the inputs.",
        settled=max((each.settled for each in more), default=0),
        student=student,
        writes=replica.rank == 0,
        seconds=checkpoint_seconds if within else math.inf,
    )
    if guide is not None:
        guide.kept = keeper.kept
    first = keeper.restore(learner) if resume else 0
    bar = [Bar()] if verbose else []
    early = [*seeded, *replica.callbacks(twin)]
    try:
        for begin, end in _stretches(first, keeper.steps, until or epochs):
            if keeper.stopped or learner.stop_training:
                break
            batches.skip = keeper.steps
            with own_randomness():
                learner.fit(
                    share(batches, replica),
                    validation_data=None if judged is None else share(judged, replica),
                    initial_epoch=begin,
                    epochs=end,
                    shuffle=False,
                    verbose=0,
                    callbacks=[*early, keeper, *bar, *guides, *callbacks],
                )
    except Exception as error:
        failure = batches.failure or (judged.failure if judged is not None else None)
        if failure is None:
            raise
        kept = f"{failure.what.rstrip()}{keeper.kept()}"
        raise DataError(kept, where=failure.where, mend=failure.mend) from error
    finally:
        for each in bar:
            each.stop()
    trained = copied(model)
    (trained if alone or student is not None else learner).set_weights(keeper.best_weights)
    curve = Curve(
        {name: tuple(values) for name, values in keeper.history.items()},
        keeper.best_epoch,
        keeper.monitor,
        time.perf_counter() - start,
    )
    return trained, curve


def default_batch_size(rows: int) -> int:
    """Return a power of two from 32 to 1024 that makes some fifty steps of an epoch or more."""
    return min(1024, max(32, 2 ** round(math.log2(max(1, rows) / 50))))


def _stretches(first: int, steps: int, epochs: int) -> list[tuple[int, int]]:
    """Return the epochs to train: the one that is begun, if one is, and then the others."""
    begun = first + bool(steps)
    return [(a, b) for a, b in ((first, begun), (begun, epochs)) if a < b]


def _workers(data: Dataset, changes: Augmentation | None) -> int:
    """Return how many threads make batches ahead: where making one takes long."""
    slow = data.train.streamed or data.contract.kind == "image" or bool(changes)
    return WORKERS if slow else 0


def _softened(loss: Any) -> keras.losses.Loss:
    """Return the loss for labels that are shares of classes, as mixed samples have."""
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return keras.losses.CategoricalCrossentropy(from_logits=loss.from_logits)
    return loss


def check_training(
    epochs: Any, batch_size: Any = None, learning_rate: Any = 1.0, patience: Any = None
) -> None:
    """Refuse what is no number above zero, or no whole one where it counts.

    Raises:
        RecipeError: naming it.
    """
    may_lack = {"batch_size": batch_size, "patience": patience}
    counts = {"epochs": epochs, **{k: v for k, v in may_lack.items() if v is not None}}
    for name, value in {**counts, "learning_rate": learning_rate}.items():
        if not is_number(value) or not value > 0:
            raise RecipeError(
                f"{name} must be above 0, got {value!r}.",
                where=name,
                mend="Give a positive number.",
            )
        if name in counts and not isinstance(value, Integral):
            raise RecipeError(
                f"{name} must be a whole number, got {value!r}.", where=name, mend="Round it."
            )


def _augmentation(
    data: Dataset, asked: bool | Mapping[str, Any] | None, seed: int
) -> Augmentation | None:
    if asked is None or asked is False:
        return None
    from secateur.data.augment import augmentation

    options = {} if asked is True else dict(asked)
    return augmentation(data.contract.kind, seed=seed, **options)


def _compile(
    model: Any,
    loss: keras.losses.Loss,
    data: Dataset,
    steps: int,
    epochs: int,
    learning_rate: float,
    make: Callable[[Any], keras.optimizers.Optimizer],
) -> None:
    total = steps * epochs
    warm = min(3 * steps, total // 10)
    schedule: Any = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10 if warm else learning_rate,
        max(1, total - warm),
        warmup_target=learning_rate if warm else None,
        warmup_steps=warm,
    )
    metric: Any = "accuracy" if data.contract.task == "classification" else "mae"
    if isinstance(loss, keras.losses.BinaryCrossentropy) and loss.from_logits:
        metric = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
    model.compile(
        optimizer=make(schedule),
        loss=loss,
        metrics=[metric],
        # JAX is slow without, and it can step over the rows of several workers in no other way.
        jit_compile=keras.backend.backend() == "jax",
    )


def _identity(model: keras.Model, data: Dataset, *settings: Any) -> str:
    """Return what a checkpoint must have been made from to be gone on from."""
    import hashlib

    digest = hashlib.sha256(repr((data.fingerprint, *settings)).encode())
    for weight in model.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()
