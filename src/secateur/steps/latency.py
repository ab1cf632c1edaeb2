"""Hold a share of a model's measured latency: make a smaller one, measure, correct until it holds.

How smaller models are made is the caller's: by a plan that is cut, or by ranks of factors.
"""

from __future__ import annotations

import operator
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from secateur.cost.cost import Latency
from secateur.cost.race import race, ratio
from secateur.cost.runtimes import TITLE, write_for
from secateur.errors import BudgetError

if TYPE_CHECKING:
    import keras

# What leaves less than this share of the budget unused is not corrected.
SLACK = 0.05
# What is aimed at where it is to be corrected: amid the budget and the slack below it.
AIM = 1 - SLACK / 2
# How often both models are opened anew for one measurement.
OPENINGS = 5

Made = TypeVar("Made")


@dataclass(frozen=True)
class Trial:
    """One smaller model that was measured.

    Args:
        target: the share that was asked for.
        ratio: the share of the latency that it took, measured.
    """

    target: float
    ratio: float


@dataclass(frozen=True)
class Timing:
    """What was measured of the model that was chosen.

    Args:
        asked: the share of the latency that may be left.
        before: the latency of the model as it is.
        after: the latency of the smaller one, from calls in turn with those of `before`.
        trials: what was tried, in order.
    """

    asked: float
    before: Latency
    after: Latency
    trials: tuple[Trial, ...]

    @property
    def ratio(self) -> float:
        """Return the share of the latency that is left, as measured."""
        return ratio(self.before, self.after)

    @property
    def corrections(self) -> int:
        """Return how often it was measured and made again."""
        return len(self.trials) - 1

    def told(self, made: str) -> str:
        """Return what was measured, in one sentence.

        Args:
            made: what is corrected, in a word: a plan.
        """
        runtime = TITLE[self.before.runtime]
        again = {0: "", 1: f", the {made} corrected once"}.get(
            self.corrections, f", the {made} corrected {self.corrections} times"
        )
        near = self.ratio >= (1 - SLACK) * self.asked
        loose = "" if near else f"; no {made} in between was found"
        return (
            f"{self.ratio:.1%} of the latency is left where {self.asked:.1%} may be: "
            f"median {self.before.median_ms:.3g} -> {self.after.median_ms:.3g} ms on {runtime} "
            f"(batch {self.before.batch}, threads {self.before.threads}), measured in turn"
            f"{again}{loose}"
        )


def within_latency(
    model: keras.Model,
    share: float,
    attempt: Callable[[float], Made],
    build: Callable[[Made], keras.Model],
    least: Callable[[float], float],
    *,
    mend: str,
    alike: Callable[[Made, Made], bool] = operator.eq,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
    open_length: int | None = None,
    reached: float = 1.0,
    seconds: float = 4.0,
    most: int = 6,
) -> tuple[Made, Timing]:
    """Return what takes at most a share of a model's measured latency, and what was measured.

    The smaller model is exported and timed against the given one, one call of each in turn. Where
    it takes more time than it may, or over 5 % less than that, another share is asked of `attempt`.

    Args:
        model: the model as it is; it is untouched.
        share: the share of its latency that may be left, between 0 and 1.
        attempt: gives what leaves about such a share by an estimate, and raises a BudgetError
            where there is none.
        build: gives the smaller model.
        least: gives the least share that `attempt` can give, after one that it could not.
        mend: what helps where the latency cannot fall so far.
        alike: whether two of what `attempt` gives are the same smaller model.
        runtime: `onnxruntime`, `openvino` or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        open_length: stands in for lengths that the model leaves open.
        reached: the share of the latency that what `attempt` makes smaller takes, as measured,
            where that is not the model but one that it was cut from.
        seconds: how long the two models are timed, in turn, each time.
        most: how many are measured at the most.

    Raises:
        BudgetError: it cannot be met; the best that was measured is named.
        ModelError: the runtime is not known, or cannot run the model.
        MissingExtraError: the runtime is not installed.
    """
    search = Search(share / reached)
    measured: list[tuple[Trial, Made, dict[str, Latency]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = write_for(model, runtime, folder)
        own = folder / "smaller"
        own.mkdir()
        while len(measured) < most and (target := search.next()) is not None:
            try:
                made = attempt(target)
            except BudgetError:
                search.bottom(least(target))
                continue
            known = [trial.ratio for trial, each, _ in measured if alike(each, made)]
            if known:
                search.measured(target, known[0] / reached)
                continue
            times = race(
                {"whole": whole, "smaller": write_for(build(made), runtime, own)},
                batch=batch,
                threads=threads,
                seconds=seconds,
                open_length=open_length or 1,
                runtime=runtime,
                openings=OPENINGS,
            )
            left = ratio(times["whole"], times["smaller"])
            measured.append((Trial(target, left), made, times))
            search.measured(target, left / reached)
    within = [entry for entry in measured if entry[0].ratio <= share]
    if not within:
        best = min((trial.ratio for trial, _, _ in measured), default=1.0)
        raise BudgetError(
            f"latency cannot fall to {share:.1%} on {TITLE[runtime]}: the best that was measured "
            f"is {best:.1%} of the model's.",
            where="latency",
            mend=mend,
        )
    _, made, times = max(within, key=lambda entry: entry[0].ratio)
    trials = tuple(trial for trial, _, _ in measured)
    return made, Timing(share, times["whole"], times["smaller"], trials)


class Search:
    """The share to ask for next, from what came of those asked before.

    The measured share rises with the one that is asked, so that the right one lies between one
    that gave too little and one that gave too much: the line through both is followed (regula
    falsi), and left for the middle where it misses on the same side twice.
    """

    def __init__(self, share: float):
        self.share, self.aim = share, share * AIM
        # Shares asked for, with what was measured: nothing left, and all of it.
        self.low, self.high = (0.0, 0.0), (1.0, 1.0)
        self.lowest = 0.0
        self._target: float | None = self.aim
        self._over: bool | None = None
        self._tries = 0

    def next(self) -> float | None:
        """Return the share to ask for, or none once one was met or there is none in between."""
        return self._target

    def measured(self, target: float, ratio: float) -> None:
        """Take in what was measured for a share."""
        over = ratio > self.share
        met = not over and ratio >= (1 - SLACK) * self.share
        if met or (over and target <= self.lowest):
            self._target = None
            return
        if over:
            self.high = min(self.high, (target, ratio))
        else:
            self.low = max(self.low, (target, ratio))
        (left, below), (right, above) = self.low, self.high
        slope = (right - left) / (above - below) if above > below else 0.0
        following = left + (self.aim - below) * slope
        if over is self._over:
            following = (following + (left + right) / 2) / 2
        self._over = over
        self._go(following)

    def bottom(self, target: float) -> None:
        """Take in the least share that can be asked for, and ask for that."""
        self.lowest = self._target = target

    def _go(self, target: float) -> None:
        self._tries += 1
        left, right = max(self.low[0], self.lowest), self.high[0]
        margin = 0.02 * (right - left)
        target = min(max(target, left + margin), right - margin)
        self._target = target if self._tries < 24 and right - left > 1e-3 else None
