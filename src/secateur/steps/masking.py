"""Masks while a model trains: constraints that hold a mask each, and the callback that sets them.

The optimizer applies the constraints inside its compiled step, so there is no wrapper layer, and
setting a mask traces nothing again. The masks are variables of the optimizer: its state on disk has
them too, and every backend hands them to the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.errors import ModelError, PlanError
from secateur.graph.weights import to_numpy
from secateur.planning.patterns import Layout, Pattern
from secateur.planning.rewiring import annealed, rewired
from secateur.planning.schedules import Schedule, share_at
from secateur.steps.emptied import shifts, switched_off

if TYPE_CHECKING:
    from secateur.graph.graph import Graph


class Masked(keras.constraints.Constraint):
    """Make the weights zero that a mask has zeros for.

    Args:
        mask: a variable in the shape of the weight, of ones and zeros.
        first: the constraint that the weight had before; it is applied before the mask.
    """

    def __init__(self, mask: Any, first: Any = None):
        self.mask = mask
        self.first = first

    def __call__(self, w: Any) -> Any:
        """Return the masked weight."""
        w = w if self.first is None else self.first(w)
        return keras.ops.multiply(w, keras.ops.cast(self.mask, w.dtype))


class Listening(keras.optimizers.Adam):
    """Adam that keeps the gradients of its last step.

    A masked weight is zero, not cut off, so its gradient is that of the weight if it were to grow.
    """

    def listen(self, variables: Iterable[Any]) -> dict[int, Any]:
        """Keep the gradients of some of the variables that the optimizer is built on.

        Returns:
            The variables that hold the gradients, by the id of the variable they are of.
        """
        self._heard: dict[int, Any] = {}
        found = {}
        for variable in variables:
            kept = self.add_variable_from_reference(variable, name="gradient")
            self._heard[self._get_variable_index(variable)] = found[id(variable)] = kept
        return found

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keep the gradient, and do Adam's step."""
        kept = self._heard.get(self._get_variable_index(variable))
        if kept is not None:
            self.assign(kept, gradient)
        super().update_step(gradient, variable, learning_rate)


@dataclass(frozen=True)
class Settings:
    """How masks come about; the arguments are those of `Sparsify`."""

    sparsity: float
    pattern: Pattern
    schedule: Schedule
    every: int
    end: float
    by: str
    method: str
    drop: float
    seed: int
    cut_empty: bool


class Masking(keras.callbacks.Callback):
    """Set the masks of some kernels of a model while it trains.

    Args:
        graph: the traced model that the training starts from.
        layouts: the kernels to mask by their keys, each with its layout.
        settings: how the masks come about.

    Attributes:
        masks: for each kernel, true where a weight stays.
        settled: the epoch, from 0, at whose end the masks are final.
        updates: how often masks were set.
        kept: says which state of the training is kept.
    """

    def __init__(self, graph: Graph, layouts: Mapping[str, Layout], settings: Settings):
        super().__init__()
        self.masks = {key: np.ones(graph.weights[key].shape, bool) for key in layouts}
        self.settled = 0
        self.kept: Callable[[], str] = str
        self.updates = 0
        self.last = 0
        self._graph = graph
        self._layouts = layouts
        self._settings = settings
        self._start = {key: to_numpy(graph.variables[key]) for key in layouts}
        self._share: float | None = None
        self._step = 0
        self._twin: Any = None
        self._weights: dict[str, Any] = {}
        self._held: dict[str, Any] = {}
        self._gradients: dict[int, Any] = {}

    @property
    def identity(self) -> str:
        """Return what tells this masking from another."""
        told = {field.name: getattr(self._settings, field.name) for field in fields(self._settings)}
        # A function's repr has its place in memory, which is another one after a resume.
        told["schedule"] = getattr(self._settings.schedule, "__name__", "")
        return repr((told, sorted(self._layouts)))

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """Return the optimizer to train with."""
        return (Listening if self._settings.method == "rigl" else keras.optimizers.Adam)(rate)

    def prepare(self, model: keras.Model, steps: int, epochs: int) -> None:
        """Put the constraints on the weights of a compiled copy of the model.

        Args:
            model: the copy.
            steps: steps of one epoch.
            epochs: how many epochs there are at most.

        Raises:
            PlanError: masks are to follow movement, and are final before anything moves.
        """
        every = self._settings.every
        self.last = int(self._settings.end * (steps * epochs - 1)) // every * every
        if self._settings.by == "movement" and self.last == 0:
            raise PlanError(
                f"training has {steps * epochs} steps, so masks are set before the first one, "
                "when no weight has moved.",
                where="every",
                mend=f"Give a smaller `every` (it is {every}), a larger `end`, or more epochs.",
            )
        self.settled = self.last // steps
        self._twin = model
        optimizer: Any = self._twin.optimizer
        optimizer.build(model.trainable_variables)
        self._weights = self._graph.variables_of(model)
        also = shifts(self._graph) if self._settings.cut_empty else ()
        for key in (*self._layouts, *also):
            variable = self._weights[key]
            mask = optimizer.add_variable_from_reference(variable, "mask", initializer="ones")
            variable.constraint = Masked(mask, variable.constraint)
            self._held[key] = mask
        if isinstance(optimizer, Listening):
            self._gradients = optimizer.listen(self._weights[key] for key in self._layouts)

    def on_train_begin(self, logs: Any = None) -> None:
        """Take up the masks where the optimizer's state has them."""
        self._step = int(to_numpy(self._twin.optimizer.iterations))
        self.masks = {key: to_numpy(self._held[key]) > 0 for key in self._layouts}

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the masks if it is time to; the step that follows applies them."""
        step = self._step
        self._step += 1
        if step <= self.last and step % self._settings.every == 0:
            self._update(step)

    def _update(self, step: int) -> None:
        progress = step / self.last if self.last else 1.0
        gradual = self._settings.method == "gradual"
        share = share_at(self._settings.schedule, progress) if gradual else None
        if share is None or share != self._share or step == self.last:
            self._read()
            values = {key: self._value(key) for key in self._layouts}
            if gradual or step == 0:
                self._set(self._pruned(values, 1.0 if share is None else share))
            else:
                self._set(self._rewired(values, step, progress))
            if step == self.last and self._settings.cut_empty:
                self._switch_off(values)
        self._share = share

    def _pruned(self, values: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
        return masks_for(values, self.masks, self._start, self._layouts, self._settings, share)

    def _rewired(
        self, values: Mapping[str, np.ndarray], step: int, progress: float
    ) -> dict[str, np.ndarray]:
        """Return masks that let some weights go and as many others come."""
        share = annealed(self._settings.drop, progress)
        changed = {}
        for index, (key, mask) in enumerate(self.masks.items()):
            if self._settings.method == "rigl":
                growth = np.abs(to_numpy(self._gradients[id(self._weights[key])]))
                self._check_finite(growth, key, "a gradient")
            else:
                rng = np.random.default_rng([self._settings.seed, step, index])
                # What is active is not for chance to bring back.
                growth = np.where(mask, -1.0, rng.random(mask.shape))
            changed[key] = rewired(mask, values[key], growth, share)
        return changed

    def _set(self, masks: Mapping[str, np.ndarray]) -> None:
        for key, mask in masks.items():
            if not np.array_equal(mask, self.masks[key]):
                self._held[key].assign(mask.astype("float32"))
        self.masks = dict(masks)
        self.updates += 1

    def _switch_off(self, values: Mapping[str, np.ndarray]) -> None:
        """Mask the shifts of units of which no kernel is left, so that they can be cut."""
        now = {key: self._value(key) for key in self._graph.weights}
        now |= {key: values[key] * mask for key, mask in self.masks.items()}
        for key, mask in switched_off(self._graph, now).items():
            self._held[key].assign(mask.astype("float32"))

    def _value(self, key: str) -> np.ndarray:
        value = to_numpy(self._weights[key])
        self._check_finite(value, key, "a weight")
        return value

    def _check_finite(self, array: np.ndarray, key: str, what: str) -> None:
        if not np.isfinite(array).all():
            raise ModelError(
                f"{what} became NaN or infinite while the masks grew.{self.kept()}",
                where=key,
                mend="Lower learning_rate, or check the inputs.",
            )

    def _read(self) -> None:
        """On JAX, bring the variables up to date with the state that the step carries."""
        sync = getattr(self._twin, "jax_state_sync", None)
        if sync is not None:
            sync()


def masks_for(
    values: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
    layouts: Mapping[str, Layout],
    settings: Settings,
    share: float,
) -> dict[str, np.ndarray]:
    """Return masks by which a share of the final sparsity is reached.

    By `movement` (Sanh et al. 2020, "Movement Pruning") a weight is worth what it moved away from
    zero: the sum of `-weight * gradient` over the steps. The steps follow the gradient downhill, at
    the optimizer's own rate, so that sum is the integral of `w dw` over the way that the weight
    went: half of what its square grew by, which needs no sum at all. What is zero stays zero.

    Args:
        values: the kernels by key.
        masks: the masks as they are.
        start: the kernels as they were before the training.
        layouts: which axes of a kernel are inputs and outputs.
        settings: how masks come about.
        share: the share of the final sparsity, from 0 to 1.
    """
    scores = []
    for key, layout in layouts.items():
        value = values[key].astype(np.float64)
        moved = settings.by == "movement"
        score = np.square(value) - np.square(start[key]) if moved else np.abs(value)
        scores.append(layout.unrolled(np.where(masks[key], score, -np.inf)))
    found = settings.pattern.masks(scores, share * settings.sparsity)
    return {
        key: layout.rolled(mask, values[key].shape)
        for (key, layout), mask in zip(layouts.items(), found, strict=True)
    }
