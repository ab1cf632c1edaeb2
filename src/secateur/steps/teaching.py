"""Distillation: a model learns from the labels, and from what another model makes of the rows.

The one that learns is trained inside of a model that asks both; out comes the plain student.
`keras.distillation` gives the losses. Its `Distiller` does not serve: it leaves the weights of rows
out of account, passes rows twice through a student that is asked for features, and mixes what the
teacher says into the validation loss, by which the best epoch is chosen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError, PlanError
from secateur.graph.functional import functional_of
from secateur.graph.observe import loss_for
from secateur.graph.weights import has_own_class, to_numpy

if TYPE_CHECKING:
    from keras.distillation import DistillationLoss

# Keras annotates operations too narrowly for a type checker.
ops: Any = keras.ops
# The smallest probabilities whose logarithms are told apart, and how near to one they come.
_LEAST, _MOST = 1e-30, 1 - 1e-6


class Around(Protocol):
    """What a model is trained inside of."""

    @property
    def settled(self) -> int:
        """Return the first epoch, from 0, that may be the best one."""
        ...

    @property
    def identity(self) -> str:
        """Return what tells it from others; it goes into the identity of the training."""
        ...

    def pupil(self, student: keras.Model, labels: np.ndarray) -> keras.Model:
        """Return the model that trains a student."""
        ...


@dataclass(frozen=True)
class Teaching:
    """How a student learns from a teacher.

    Args:
        teacher: the model to learn from; it is asked, and not trained.
        temperature: by what logits are divided before they are compared.
        alpha: the share of the loss that is the teacher's; the rest is that of the labels.
        features: the names of layers whose outputs are to be alike as well.
        seed: gives the projections of features to start from.
    """

    teacher: keras.Model = field(repr=False)
    temperature: float = 4.0
    alpha: float = 0.5
    features: tuple[str, ...] = ()
    seed: int = 0

    @property
    def settled(self) -> int:
        """Return 0: any epoch may be the best one."""
        return 0

    @property
    def identity(self) -> str:
        """Return what tells this from other teaching."""
        digest = hashlib.sha256()
        for weight in self.teacher.weights:
            digest.update(np.ascontiguousarray(to_numpy(weight)).tobytes())
        return repr((self, digest.hexdigest()))

    @property
    def manner(self) -> dict[str, Any]:
        """Return the arguments beside the teacher."""
        names = ("temperature", "alpha", "features", "seed")
        return {name: getattr(self, name) for name in names}

    def pupil(self, student: keras.Model, labels: np.ndarray) -> Pupil:
        """Return the model that trains a student.

        Args:
            student: the model that is to learn; its weights are trained.
            labels: the labels of the training rows, which tell what kind of task it is.

        Raises:
            ModelError: the two do not take or give the same, or a feature cannot be compared.
        """
        for what, mine, others in (
            ("inputs", student.input, self.teacher.input),
            ("outputs", student.output, self.teacher.output),
        ):
            _check_alike(what, _shapes(mine), _shapes(others), self.teacher.name)
        if len(tree.flatten(student.output)) > 1:
            raise ModelError(
                f"distillation takes models of one output, this one has "
                f"{len(tree.flatten(student.output))}.",
                where=student.name,
                mend="Train it without distill.",
            )
        return Pupil(self, student, labels)


class Pupil(keras.Model):
    """A student and what it learns from: its loss is that of labels and teacher together.

    In validation the loss is that of the labels alone, so that it compares with that of a model
    which is trained without a teacher. `distillation` says how far from the teacher it is.

    Args:
        teaching: how it learns.
        student: the model that is trained.
        labels: tell what kind of task it is.
    """

    def __init__(self, teaching: Teaching, student: keras.Model, labels: np.ndarray):
        super().__init__(name="pupil")
        self.student = student
        self._alpha = teaching.alpha
        self._compare, self._said = _comparison(teaching, student, labels)
        teacher, seen = teaching.teacher, student
        self._projections: list[Any] = []
        self._axes: list[int | None] = []
        if teaching.features:
            teacher, seen = (_tapped(each, teaching.features) for each in (teacher, student))
            for index, name in enumerate(teaching.features):
                self._meet(name, seen.output[index + 1], teacher.output[index + 1], teaching.seed)
        self._seen = seen
        # As a function, so that its weights are none of this model's.
        self._ask = lambda x: tree.map_structure(ops.stop_gradient, teacher(x, training=False))
        self._alike = keras.distillation.FeatureDistillation("mse")
        self._distance = keras.metrics.Mean(name="distillation")
        self._lost: Any = None

    def _meet(self, name: str, mine: Any, others: Any, seed: int) -> None:
        """Give a feature that has become narrower a projection to what it was."""
        one, other = tuple(mine.shape), tuple(others.shape)
        apart = [axis for axis in range(len(one)) if one[axis : axis + 1] != other[axis : axis + 1]]
        if len(one) != len(other) or len(apart) > 1:
            raise ModelError(
                f"what it gives, {one}, and what the teacher's gives, {other}, differ in more than "
                "their width.",
                where=name,
                mend="Choose another layer for features.",
            )
        self._axes.append(apart[0] if apart else None)
        if apart:
            start: Any = keras.initializers.GlorotUniform(seed=seed + len(self._axes))
            width = other[apart[0]]
            made: Any = keras.layers.Dense(width, use_bias=False, kernel_initializer=start)
            made.build((None, one[apart[0]]))
            self._projections.append(made)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Return what the student gives, and note how far from the teacher it is."""
        mine: Any = self._seen(inputs, training=training)
        said: Any = self._ask(inputs)
        if not self._axes:
            mine, said = (mine,), (said,)
        lost = self._compare.compute_loss(self._said(said[0], True), self._said(mine[0], False))
        more, projections = 0.0, iter(self._projections)
        for axis, feature, other in zip(self._axes, mine[1:], said[1:], strict=True):
            if axis is not None:
                feature = ops.moveaxis(next(projections)(ops.moveaxis(feature, axis, -1)), -1, axis)
            size = ops.mean(ops.square(other))
            more = more + self._alike.compute_loss(other, feature) / ops.maximum(size, 1e-7)
        self._lost = lost + more / max(1, len(self._axes))
        return mine[0]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss: of labels and teacher in training, of the labels else."""
        lost = self._lost
        self._distance.update_state(lost)
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training=False)
        share = ops.full((ops.shape(y_pred)[0],), 1 - self._alpha, "float32")
        if sample_weight is not None:
            share = share * ops.cast(sample_weight, "float32")
        labelled: Any = super().compute_loss(x, y, y_pred, share, training=True)
        return labelled + self._alpha * lost


def _comparison(
    teaching: Teaching, student: keras.Model, labels: np.ndarray
) -> tuple[DistillationLoss, Any]:
    """Return the loss between what two models say, and what brings their outputs to it."""
    losses = [loss_for(each, labels) for each in (teaching.teacher, student)]
    if isinstance(losses[1], keras.losses.MeanSquaredError):
        # Values have no temperature.
        return keras.distillation.FeatureDistillation("mse"), lambda output, _: output
    binary = isinstance(losses[1], keras.losses.BinaryCrossentropy)
    given = {True: _logits_given(losses[0]), False: _logits_given(losses[1])}

    def logits(output: Any, of_teacher: bool) -> Any:
        output = ops.cast(output, "float32")
        if binary:
            if not given[of_teacher]:
                output = ops.clip(output, 1 - _MOST, _MOST)
                output = ops.log(output) - ops.log(1 - output)
            return ops.concatenate([ops.zeros_like(output), output], axis=-1)
        return output if given[of_teacher] else ops.log(ops.maximum(output, _LEAST))

    # Of a loss that is given by name, Keras does not see that it takes probabilities.
    loss: Any = keras.losses.KLDivergence()
    return keras.distillation.LogitsDistillation(teaching.temperature, loss), logits


def _logits_given(loss: Any) -> bool:
    return bool(loss.from_logits)


def _tapped(model: keras.Model, names: tuple[str, ...]) -> Any:
    """Return a model of the same layers that gives what some of them give as well."""
    if has_own_class(model):
        raise ModelError(
            "it is of a class of its own, whose layers cannot be asked one by one.",
            where=model.name,
            mend="Leave features out.",
        )
    whole: Any = functional_of(model)
    found = []
    for name in names:
        try:
            found.append(whole.get_layer(name).output)
        except (ValueError, AttributeError):
            known = ", ".join(layer.name for layer in whole.layers[1:6])
            raise PlanError(
                f"the model {model.name!r} has no layer {name!r} that is used once.",
                where="features",
                mend=f"Its layers are named like {known}.",
            ) from None
    return keras.Model(whole.input, [whole.output, *found], name=f"{model.name}_tapped")


def _shapes(tensors: Any) -> list[tuple[int | None, ...]]:
    return [tuple(each.shape[1:]) for each in tree.flatten(tensors)]


def _check_alike(what: str, mine: list[Any], others: list[Any], name: str) -> None:
    alike = len(mine) == len(others) and all(
        len(one) == len(other)
        and all(a == b or a is None or b is None for a, b in zip(one, other, strict=True))
        for one, other in zip(mine, others, strict=False)
    )
    if not alike:
        raise ModelError(
            f"the {what} of the teacher are of shape {', '.join(map(str, others))}, those of the "
            f"student of {', '.join(map(str, mine))}.",
            where=name,
            mend="Choose a teacher for the same task, as the model before it was cut.",
        )
