"""What a change of the model did to whom: classes, groups of rows, and inputs of a bad day.

Everything is paired: the same rows go through the model before and after, so what both get wrong
is no noise in the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from secateur.data.encode import Encoded
from secateur.evaluation.calibration import Calibration, calibration
from secateur.evaluation.corruptions import corruptions
from secateur.evaluation.metrics import predicted

if TYPE_CHECKING:
    from secateur.data.contract import Contract
    from secateur.data.dataset import Split
    from secateur.data.groups import Groups

Predict = Callable[[Encoded], np.ndarray]
CONFIDENCE = 0.95


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Slice(_Value):
    """Some rows before and after: the share that is right, or the mean absolute error.

    `low` and `high` bound the change at 95 % confidence; None where one row
    has no spread. `flagged` says that the loss is more than the margin, and more than noise: at a
    confidence of 95 % for all slices together.
    """

    name: str
    rows: int
    before: float
    after: float
    low: float | None
    high: float | None
    flagged: bool = False


class Robustness(_Value):
    """What changed for whom.

    Attributes:
        margin: the loss that is warned of, in points of accuracy; of a mean absolute error in per
            cent of what it was.
        classes: rows by their true class; empty for regression.
        groups: rows by the value of a column, by column.
        conditions: all rows as they are ("As they are"), then under each corruption.
        calibration: of the model before and after; None for regression.
    """

    margin: float
    classes: tuple[Slice, ...] = ()
    groups: dict[str, tuple[Slice, ...]] = {}
    conditions: tuple[Slice, ...] = ()
    calibration: tuple[Calibration, Calibration] | None = None


def robustness(
    split: Split,
    truth: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    groups: Mapping[str, Groups] | None = None,
    models: tuple[Predict, Predict] | None = None,
    rows: int = 512,
    margin: float = 5.0,
    seed: int = 0,
) -> Robustness:
    """Set a model's answers before and after a change against each other, slice by slice.

    Args:
        split: the rows.
        truth: what is true of them, (n,).
        before: what the first model answers, (n, classes) or (n, 1).
        after: what the second model answers.
        groups: the groups of the rows, by the name of a column.
        models: both models, to try them under corruptions; without them that is left out.
        rows: how many rows are corrupted, drawn by the seed.
        margin: the loss that is flagged, in points, or in per cent of a mean absolute error.
        seed: decides the rows and the corruptions.
    """
    contract = split.contract
    was, now = _figures(truth, before, contract), _figures(truth, after, contract)
    # By kind, column and name: a column may well be called "class".
    parts: dict[tuple[str, str, str], np.ndarray] = {}
    for code, name in enumerate(contract.classes):
        parts["class", "", name] = truth == code
    for column, found in (groups or {}).items():
        for code, name in enumerate(found.names):
            parts["group", column, name] = found.codes == code
    chosen = {key: mask for key, mask in parts.items() if mask.any()}
    pairs = {key: (was[mask], now[mask]) for key, mask in chosen.items()}
    if models is not None:
        tried = _under(split, contract, models, rows, seed)
        pairs |= {("condition", "", name): pair for name, pair in tried.items()}
    judge = _Judge(contract.task == "regression", margin, max(1, len(pairs)))
    slices = {key: judge(key[2], *pair) for key, pair in pairs.items()}

    def of(kind: str, column: str = "") -> tuple[Slice, ...]:
        return tuple(made for key, made in slices.items() if key[:2] == (kind, column))

    judged = contract.task == "classification"
    return Robustness(
        margin=margin,
        classes=of("class"),
        groups={column: of("group", column) for column in groups or {}},
        conditions=of("condition"),
        calibration=(calibration(truth, before), calibration(truth, after)) if judged else None,
    )


def paired_interval(
    before: np.ndarray, after: np.ndarray, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of a difference of two shares counted on the same rows.

    The adjusted Wald interval of Agresti and Min, "Simple improved confidence intervals for
    comparing matched proportions" (Statistics in Medicine, 2005): half a row is added to each of
    the four cells.

    Args:
        before: which rows were right, (n,) of 0 and 1.
        after: which rows are right.
        confidence: how often such an interval holds the true difference.
    """
    rows = len(before) + 2
    lost = float((before > after).sum()) + 0.5
    gained = float((after > before).sum()) + 0.5
    middle = (gained - lost) / rows
    spread = math.sqrt(max(0.0, lost + gained - (gained - lost) ** 2 / rows)) / rows
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * spread
    return max(-1.0, middle - half), min(1.0, middle + half)


def _mean_interval(
    change: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    if len(change) < 2:
        return None
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * change.std(ddof=1) / math.sqrt(len(change))
    return float(change.mean() - half), float(change.mean() + half)


class _Judge:
    """Makes slices of pairs of figures; the more slices there are, the more a flag needs."""

    def __init__(self, errors: bool, margin: float, slices: int):
        self.errors, self.margin = errors, margin
        self.strict = 1 - (1 - CONFIDENCE) / slices

    def __call__(self, name: str, was: np.ndarray, now: np.ndarray) -> Slice:
        before, after = float(was.mean()), float(now.mean())
        if self.errors:
            bounds = _mean_interval(now - was)
            strict = _mean_interval(now - was, self.strict)
            sure = strict is not None and strict[0] > 0
            large = after - before > self.margin / 100 * before
        else:
            bounds = paired_interval(was, now)
            sure = paired_interval(was, now, confidence=self.strict)[1] < 0
            large = before - after > self.margin / 100
        return Slice(
            name=name,
            rows=len(was),
            before=before,
            after=after,
            low=bounds[0] if bounds else None,
            high=bounds[1] if bounds else None,
            flagged=sure and large,
        )


def _figures(truth: np.ndarray, outputs: np.ndarray, contract: Contract) -> np.ndarray:
    """Return for each row whether it is right (0 or 1), or how far the answer is off."""
    if contract.task == "regression":
        return np.abs(outputs.reshape(-1).astype("float64") - truth)
    return (predicted(outputs) == truth).astype("float64")


def _under(
    split: Split, contract: Contract, models: tuple[Predict, Predict], rows: int, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    numbers = np.sort(split.sample_rows(rows, seed=seed))
    truth, x = split.labels()[numbers], split.take(numbers)
    found = {}
    for place, (name, corrupt) in enumerate({"As they are": None, **corruptions(contract)}.items()):
        shown = x if corrupt is None else corrupt(x, contract, np.random.default_rng((seed, place)))
        was, now = (_figures(truth, _in_batches(model, shown), contract) for model in models)
        found[name] = (was, now)
    return found


def _in_batches(model: Predict, x: Encoded, size: int = 256) -> np.ndarray:
    parts = x if isinstance(x, dict) else {"": x}
    count = len(next(iter(parts.values())))
    pieces = []
    for start in range(0, count, size):
        some = {name: array[start : start + size] for name, array in parts.items()}
        pieces.append(np.asarray(model(some if isinstance(x, dict) else some[""])))
    return np.concatenate(pieces)
