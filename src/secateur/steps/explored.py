"""What an exploration found: every trial, the front of the best ones, and their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from secateur.errors import BudgetError, ModelError, PlanError
from secateur.formats.grids import Quantization
from secateur.models.load import load_model
from secateur.steps.objectives import maximised

if TYPE_CHECKING:
    import keras

    from secateur.steps.result import Result

# The files that keep the models of trials, and their grids.
FILES = "trial-*.*"


@dataclass(frozen=True)
class Tried:
    """One trial.

    Args:
        number: its place, from 1.
        settings: what was drawn, by name.
        steps: the steps that were made of it, each as its `repr`.
        values: what the model is worth, by objective; none where a step refused.
        state: `done`, or `refused` where a step could not do what the settings ask.
        why: why it was refused.
        seconds: how long it took.
    """

    number: int
    settings: Mapping[str, Any]
    steps: tuple[str, ...]
    values: Mapping[str, float]
    state: Literal["done", "refused"] = "done"
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Explored:
    """What an exploration found.

    The values are those of validation rows that the trials were chosen by, so that the best of
    many is a little worse on rows that nobody has seen: measure the chosen model on the test rows.

    Args:
        objectives: what the models were judged by.
        whole: what the whole model is worth, by objective.
        trials: all that was tried, in order.
        folder: where the models of the front lie, one file each; `None` if they are in memory.
        kept: the results of the front that are in memory, by number.
    """

    objectives: tuple[str, ...]
    whole: Mapping[str, float]
    trials: tuple[Tried, ...]
    folder: Path | None = None
    kept: Mapping[int, Result] = field(default_factory=dict, repr=False, compare=False)

    @property
    def front(self) -> tuple[Tried, ...]:
        """The trials that no other one beats in every objective, the best in the first ahead."""
        first = self.objectives[0]
        ahead = -1 if maximised(first) else 1
        return tuple(sorted(front_of(self.trials), key=lambda each: ahead * each.values[first]))

    def best(self, max_drop: float | None = None, *, by: str | None = None) -> Tried:
        """Return the best trial of the front.

        Args:
            max_drop: how many points (hundredths) of the first metric among the objectives may be
                lost against the whole model.
            by: the objective that is to be best; by default the first one, and with `max_drop` the
                first cost.

        Raises:
            BudgetError: no trial is within the drop, or none gave a model.
            PlanError: there is no such objective, or no metric that could drop.
        """
        metric = next((name for name in self.objectives if maximised(name)), None)
        cost = next((name for name in self.objectives if not maximised(name)), None)
        if by is not None and by not in self.objectives:
            raise PlanError(
                f"{by!r} is no objective of this search.",
                where="explore",
                mend=f"Use {' or '.join(self.objectives)}.",
            )
        if max_drop is not None and metric is None:
            raise PlanError(
                "max_drop needs a metric among the objectives, and there is none.",
                where="explore",
                mend="Leave it out, or search with objectives=('accuracy', 'macs').",
            )
        if not self.front:
            raise BudgetError(self._nothing, where="explore", mend="Give other ranges.")
        within = list(self.front)
        if max_drop is not None and metric is not None:
            least = self.whole[metric] - max_drop / 100 - 1e-9
            within = [each for each in within if each.values[metric] >= least]
            if not within:
                nearest = max(self.front, key=lambda each: each.values[metric])
                raise BudgetError(
                    f"no trial is within {max_drop:g} points of {metric} "
                    f"{self.whole[metric]:.3f}; the nearest has {nearest.values[metric]:.3f}.",
                    where="explore",
                    mend="Allow a larger max_drop, or try more.",
                )
        name = by or (max_drop is not None and cost) or self.objectives[0]
        return min(within, key=lambda each: each.values[name] * (-1 if maximised(name) else 1))

    def model(self, tried: Tried | int) -> keras.Model:
        """Return the model of a trial of the front.

        Args:
            tried: the trial, or its number.

        Raises:
            PlanError: it is not on the front; only the models of the front are kept.
            ModelError: its file is gone.
        """
        number = self._on_front(tried)
        if number in self.kept:
            return self.kept[number].model
        return load_model(self._file(number))

    def quantization(self, tried: Tried | int) -> Quantization | None:
        """Return the grids of a trial of the front, for `export`; None where it has none.

        Args:
            tried: the trial, or its number.

        Raises:
            PlanError: it is not on the front; only the models of the front are kept.
            ModelError: its file is gone.
            ArtifactError: the file of its grids is broken.
        """
        number = self._on_front(tried)
        if number in self.kept:
            return self.kept[number].quantization
        path = self._file(number).with_name(grids_of(number))
        return Quantization.from_json(path.read_bytes(), where=path) if path.is_file() else None

    def _on_front(self, tried: Tried | int) -> int:
        number = tried if isinstance(tried, int) else tried.number
        numbers = sorted(each.number for each in self.front)
        if number not in numbers:
            raise PlanError(
                f"trial {number} is not on the front, and its model was not kept.",
                where="explore",
                mend=f"On the front are {', '.join(map(str, numbers)) or 'none'}.",
            )
        return number

    def _file(self, number: int) -> Path:
        path = None if self.folder is None else self.folder / file_of(number)
        if path is None or not path.is_file():
            raise ModelError(
                f"the model of trial {number} is gone.",
                where=path,
                mend="Explore again with the same study, which makes it anew.",
            )
        return path

    @property
    def _nothing(self) -> str:
        if not self.trials:
            return "nothing was tried."
        return f"all {len(self.trials)} trials were refused; the last one: {self.trials[-1].why}"


def file_of(number: int) -> str:
    """Return the name of the file that keeps a trial's model."""
    return f"trial-{number:04}.keras"


def grids_of(number: int) -> str:
    """Return the name of the file that keeps a trial's grids, where it is quantized."""
    return f"trial-{number:04}.grids.json"


def front_of(trials: Sequence[Tried]) -> list[Tried]:
    """Return the trials that no other one beats, in order; of equal ones the first.

    A trial is beaten by one that is at least as good in every objective and better in one.
    """
    done = [each for each in trials if each.state == "done"]
    points = [_lower_is_better(each.values) for each in done]
    return [
        each
        for index, (each, point) in enumerate(zip(done, points, strict=True))
        if not any(_beats(other, point) for other in points) and point not in points[:index]
    ]


def _lower_is_better(values: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(-value if maximised(name) else value for name, value in values.items())


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
