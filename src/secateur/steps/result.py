"""What a step gives back: the new model, its cost before and after, what was done and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import keras
    import numpy as np

    from secateur.cost.cost import Cost
    from secateur.data.dataset import Dataset
    from secateur.formats.grids import Quantization
    from secateur.planning.plan import Plan
    from secateur.planning.sensitivity import Sensitivity
    from secateur.steps.search import Trial
    from secateur.steps.training import Curve


@dataclass(frozen=True)
class Note:
    """One thing that was done or skipped, and why.

    Args:
        step: the step's name.
        kind: whether it was done.
        what: what was done or skipped, in words.
        where: the layer or group, if it was one.
    """

    step: str
    kind: Literal["done", "skipped"]
    what: str
    where: str | None = None

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        skipped = "skipped: " if self.kind == "skipped" else ""
        return f"{self.step}: {skipped}{self.what}{place}"


@dataclass(frozen=True)
class Stage:
    """A model on the way, to be evaluated: its name, the model, and the seconds it took."""

    name: str
    model: keras.Model
    seconds: float


@dataclass(frozen=True)
class Selection:
    """What a pruning network has learnt.

    Args:
        gates: the value of each gate, from 0 to 1, by the name of its group.
        parameters: the model's weights as the gates leave them, by their keys.
    """

    gates: Mapping[str, np.ndarray]
    parameters: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """What a step gives back.

    Args:
        model: the new model.
        before: what the given model costs (counted, not timed).
        after: what the new model costs.
        plans: the plans that were cut by, in order.
        notes: what was done and what was skipped, and why.
        stages: the models on the way, the last one being `model`.
        sensitivities: what was measured of each group before it was decided which units go.
        curves: one a training, by the name of its stage.
        tried: the budgets that a search tried, with what came of each.
        quantization: the grids that the model's weights lie on and its activations are to be
            rounded to, if it was quantized.
        selection: what a pruning network has learnt, if one was trained.
    """

    model: keras.Model
    before: Cost
    after: Cost
    plans: tuple[Plan, ...] = ()
    notes: tuple[Note, ...] = ()
    stages: tuple[Stage, ...] = ()
    curves: tuple[tuple[str, Curve], ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    tried: tuple[Trial, ...] = ()
    quantization: Quantization | None = None
    selection: Selection | None = None

    @property
    def plan(self) -> Plan | None:
        """Return the last plan that was cut by, if there was one."""
        return self.plans[-1] if self.plans else None


def joined(results: Sequence[Result]) -> Result:
    """Return what steps that were done one after the other gave together."""
    return Result(
        model=results[-1].model,
        before=results[0].before,
        after=results[-1].after,
        plans=tuple(plan for result in results for plan in result.plans),
        notes=tuple(note for result in results for note in result.notes),
        stages=tuple(stage for result in results for stage in result.stages),
        curves=tuple(curve for result in results for curve in result.curves),
        sensitivities=tuple(each for result in results for each in result.sensitivities),
        tried=tuple(each for result in results for each in result.tried),
        # A step that comes after moves the weights off their grid.
        quantization=results[-1].quantization,
        selection=next((r.selection for r in reversed(results) if r.selection), None),
    )


class Taught(Protocol):
    """A step that may learn from another model, as a rule the one before anything was cut.

    A chain hands its own first model to such steps, and a run its baseline.
    """

    @property
    def wants_teacher(self) -> bool:
        """Say whether it is to be given one."""
        ...

    def __call__(
        self,
        model: keras.Model,
        data: Dataset | None = None,
        *,
        teacher: keras.Model | None = None,
    ) -> Result:
        """Return the new model and how it came about."""
        ...


class Step(Protocol):
    """From a model to a cheaper model; the given one is untouched."""

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the new model and how it came about."""
        ...


def perform(
    step: Any, model: keras.Model, data: Dataset | None, teacher: keras.Model | None
) -> Result:
    """Do a step, and give it the teacher if it wants one.

    Args:
        step: a `Step` or a `Taught`.
        model: what it starts from.
        data: what it learns from.
        teacher: the model that it may learn from as well.
    """
    if getattr(step, "wants_teacher", False):
        return step(model, data, teacher=teacher)
    return step(model, data)
