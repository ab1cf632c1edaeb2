"""A chain of steps is a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secateur.errors import RecipeError
from secateur.steps.order import check_order
from secateur.steps.result import Result, Step, joined, perform

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset


@dataclass(frozen=True)
class Chain:
    """Steps, one after the other, each on what the one before gave."""

    steps: tuple[Step, ...]

    @property
    def wants_teacher(self) -> bool:
        """Say whether any of the steps learns from another model."""
        return any(getattr(step, "wants_teacher", False) for step in self.steps)

    def __call__(
        self,
        model: keras.Model,
        data: Dataset | None = None,
        *,
        teacher: keras.Model | None = None,
    ) -> Result:
        """Run all steps.

        Args:
            model: what the first step starts from.
            data: what the steps learn from.
            teacher: for steps that learn from another model; by default `model`.

        Raises:
            SecateurError: whatever a step raises.
            RuntimeError: a step gave back the very model that it was given.
        """
        results: list[Result] = []
        given = model
        for step in self.steps:
            result = perform(step, given, data, model if teacher is None else teacher)
            if result.model is given:
                raise RuntimeError(f"{step!r} returned its own input instead of a new model")
            results.append(result)
            given = result.model
        return joined(results)

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self.steps))})"


def chain(*steps: Step) -> Chain:
    """Return the step that runs `steps` one after the other.

    Raises:
        RecipeError: there is no step, something is none, or one would undo what an earlier one did.
    """
    if not steps:
        raise RecipeError("a chain needs at least one step.", mend="Add Prune(macs=0.5).")
    for step in steps:
        # A class can be called as well, and would take the model for its first argument.
        if isinstance(step, type) or not callable(step):
            raise RecipeError(
                f"a chain takes steps, received {step!r}.",
                where="chain",
                mend="Make the step first: Prune(macs=0.5).",
            )
    check_order(steps)
    return Chain(steps)
