"""What criteria need to know is gathered once: weights, gradients, and what passes through.

The gradients come from an optimizer that moves nothing: `model.fit` with it is the pass, so it
works on every backend. What passes through is seen on forward passes, as
`secateur.graph.activations` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import tree

from secateur.errors import DataError, ModelError, PlanError
from secateur.graph.activations import Activations, gather
from secateur.graph.ending import ending
from secateur.graph.given import arrays_of, labels_of
from secateur.graph.graph import Graph
from secateur.graph.moments import Moments
from secateur.graph.randomness import own_randomness
from secateur.graph.weights import copied, to_numpy

FROM_LABELS = ("taylor", "fisher")
FROM_INPUTS = ("activations", "moments")
NAMES = ("weights", *FROM_LABELS, *FROM_INPUTS)
# The Fisher information takes one gradient a row; this many rows are enough to rank by.
FISHER_ROWS = 256


@dataclass(frozen=True)
class Stats:
    """What `observe` gathered.

    Args:
        weights: the value of each weight, by its key.
        taylor: for each trainable weight, the mean over batches of (gradient * weight) squared.
        samples: how many rows were seen.
        fisher: for each trainable weight, the mean over rows of the gradient squared.
        activations: what each weight multiplies and what comes of it.
        moments: by group, the second moments of its units for each weight that reads them; groups
            that are too wide for it have none.
        seed: that of what is random, for criteria that are.
    """

    weights: Mapping[str, np.ndarray]
    taylor: Mapping[str, np.ndarray] = field(default_factory=dict)
    samples: int = 0
    fisher: Mapping[str, np.ndarray] = field(default_factory=dict)
    activations: Activations | None = None
    moments: Mapping[str, list[Moments]] | None = None
    seed: int = 0

    @property
    def gathered(self) -> frozenset[str]:
        """Return the names of what there is."""
        there = (True, self.taylor, self.fisher, self.activations, self.moments is not None)
        return frozenset(name for name, has in zip(NAMES, there, strict=True) if has)


def observe(
    graph: Graph,
    data: Any = None,
    *,
    needs: frozenset[str] | set[str] = frozenset({"weights"}),
    batch_size: int = 32,
    seed: int = 0,
) -> Stats:
    """Gather what criteria need to know about a model.

    Args:
        graph: a traced model; the model is not changed.
        data: a tuple of inputs and labels, as `Split.sample` returns them, or inputs alone where
            no labels are needed. Labels are class codes (integers, or truth) or, for regression,
            floats.
        needs: any of

            - `weights`, which are always there;
            - `taylor`, from labels: (gradient * weight) squared (Molchanov et al. 2019,
              "Importance Estimation for Neural Network Pruning");
            - `fisher`, from labels: the gradient of single rows squared, the diagonal of the
              empirical Fisher information, on 256 rows at most, with dropout switched off and
              normalisations as they are at inference (Theis et al. 2018, "Faster Gaze Prediction
              With Dense Networks and Fisher Pruning");
            - `activations`, from inputs: the mean size, the share of zeros and the mean square;
            - `moments`, from inputs: the products of units.
        batch_size: rows that a gradient is averaged over before it is squared for `taylor`.
        seed: for what is random inside the model (dropout), for which places of large tensors
            moments are summed over, and for the criterion `random`.

    Raises:
        PlanError: nothing of that name can be gathered.
        DataError: data or labels are needed and there are none, or the model takes others.
        ModelError: a gradient or an activation is NaN or infinite, or labels are needed and the
            model has several outputs.
    """
    unknown = sorted(set(needs) - set(NAMES))
    if unknown:
        raise PlanError(
            f"nothing named {', '.join(map(repr, unknown))} can be gathered.",
            where="needs",
            mend=f"A criterion may need {', '.join(NAMES)}.",
        )
    weights = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    if not set(needs) - {"weights"}:
        return Stats(weights, seed=seed)
    x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    labelled = [name for name in FROM_LABELS if name in needs]
    if x is None or (labelled and y is None):
        _refuse(labelled, [name for name in FROM_INPUTS if name in needs])
    # An array for each input tells of another shape before Keras does.
    arrays_of(graph.model, x)
    y = labels_of(graph.model, x, y) if labelled else None
    activations, moments = None, None
    if set(needs) & set(FROM_INPUTS):
        activations, moments = gather(graph, x, moments="moments" in needs, seed=seed)
    taylor = _taylor(graph, x, y, batch_size, seed) if "taylor" in needs else {}
    fisher = _fisher(graph, x, y, seed) if "fisher" in needs else {}
    return Stats(weights, taylor, len(tree.flatten(x)[0]), fisher, activations, moments, seed)


def _refuse(labelled: list[str], others: list[str]) -> None:
    if labelled:
        raise DataError(
            f"{_and(labelled)} data with labels, and none was given.",
            mend="Pass inputs and labels, or use a criterion without labels: by='l2' on weights "
            "alone, by='wanda' or by='reconstruction' on inputs.",
        )
    raise DataError(
        f"{_and(others)} data, and none was given.",
        mend="Pass inputs (labels are not needed), or use a criterion on weights alone: by='l2'.",
    )


def _and(names: list[str]) -> str:
    return f"{' and '.join(names)} {'need' if len(names) > 1 else 'needs'}"


class _Listener(keras.optimizers.Optimizer):
    """An optimizer that adds up squared gradients and moves nothing.

    Args:
        times_variable: whether gradients are multiplied by their variable before.
    """

    def __init__(self, *, times_variable: bool) -> None:
        super().__init__(learning_rate=0.0, name="listener")
        self.times_variable = times_variable
        self.sums: list[Any] = []

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self.sums = [
            self.add_variable_from_reference(reference_variable=v, name="sum") for v in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        total = self.sums[self._get_variable_index(variable)]
        heard = keras.ops.multiply(gradient, variable) if self.times_variable else gradient
        self.assign_add(total, keras.ops.square(keras.ops.cast(heard, total.dtype)))


class _Still(keras.Model):
    """A model as it is at inference, in training as well.

    A normalisation over a single row would leave nothing of it.
    """

    def __init__(self, inner: keras.Model) -> None:
        super().__init__(name="still")
        self.inner: Any = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs, training=False)


def _taylor(graph: Graph, x: Any, y: Any, batch_size: int, seed: int) -> dict:
    model = copied(graph.model)
    return _heard(graph, model, model, x, y, batch_size, seed, times_variable=True)


def _fisher(graph: Graph, x: Any, y: Any, seed: int) -> dict:
    model = copied(graph.model)
    still = _Still(model)
    x = tree.map_structure(lambda array: array[:FISHER_ROWS], x)
    return _heard(graph, model, still, x, y[:FISHER_ROWS], 1, seed, times_variable=False)


def _heard(
    graph: Graph,
    twin: keras.Model,
    trained: Any,
    x: Any,
    y: np.ndarray,
    batch_size: int,
    seed: int,
    *,
    times_variable: bool,
) -> dict[str, np.ndarray]:
    """Return the mean of squared gradients of a copy of the model, by the key of the weight."""
    listener = _Listener(times_variable=times_variable)
    trained.compile(optimizer=listener, loss=loss_for(twin, y), jit_compile=False)
    for layer in twin._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed, 0]))
    with own_randomness(seed):
        trained.fit(x, y, batch_size=batch_size, epochs=1, shuffle=False, verbose=0)
    steps = -(-len(y) // batch_size)
    keys = {id(variable): key for key, variable in graph.variables_of(twin).items()}
    found = {}
    for variable, total in zip(trained.trainable_variables, listener.sums, strict=True):
        key = keys.get(id(variable))
        if key is None:
            continue  # No output depends on it.
        found[key] = to_numpy(total) / steps
        if not np.isfinite(found[key]).all():
            raise ModelError(
                "a gradient is NaN or infinite.",
                where=key,
                mend="Check the inputs' scaling and the labels.",
            )
    return found


# Units that are probabilities: of all classes together, or each apart.
_PROBABLE = ("softmax", "sigmoid")


def loss_for(model: keras.Model, y: np.ndarray) -> keras.losses.Loss:
    """Return the loss that fits a model's output and the labels.

    Class codes get cross-entropy, on probabilities or logits as the model gives them; floats get
    the squared error.
    """
    if not np.issubdtype(np.asarray(y).dtype, np.integer):
        return keras.losses.MeanSquaredError()
    made_by = ending(model)
    if model.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=made_by != "sigmoid")
    return keras.losses.SparseCategoricalCrossentropy(from_logits=made_by not in _PROBABLE)
