"""The columns of a contract are learned from rows, in one streaming pass.

What the model sees of a column (mean, spread, vocabulary) comes from the training split alone; what
is valid (the range, whether a value may be missing) from all rows that are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from secateur.data import splits, values
from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    ListColumn,
    NumericColumn,
    Target,
    counted,
    describe_number,
    us_to_iso,
)
from secateur.data.encode import target_codes
from secateur.data.frames import Frames
from secateur.data.kinds import Kind, conform
from secateur.data.lists import list_values
from secateur.data.spread import Ends, Reservoir, Spread
from secateur.data.values import pc

VOCABULARY = 1000
# A text column with more different values than this share of its rows names things, not kinds.
DISTINCT = 0.9
MIN_DISTINCT = 50
# Words that are counted at a time; beyond, the rarest are forgotten, so that memory stays flat.
MAX_WORDS = 200_000


def learn(
    frames: Frames,
    codes: np.ndarray,
    kinds: Mapping[str, Kind],
    lengths: Mapping[str, int],
    integers: set[str],
) -> tuple[tuple[Any, ...], list[str], np.ndarray]:
    """Learn the columns of a contract, and how their values are spread.

    Args:
        frames: the rows.
        codes: the split of each row, as `survey` gave it.
        kinds: the kind of each input column.
        lengths: how many numbers the lists of a column of kind "list" have.
        integers: the columns of whole numbers.

    Returns:
        The columns, notes on what was left out, and the split of each row: rows with a number far
        outside all others of its column are in none.
    """
    learners = {name: _LEARNERS[kind](name) for name, kind in kinds.items()}
    for start, raw in frames.blocks(list(kinds)):
        code = codes[start : start + raw.num_rows]
        used = code != splits.LEFT_OUT
        table = conform(raw, kinds, lengths)[0]
        train = pa.array(code[used] == 0)
        table = table if used.all() else table.filter(pa.array(used))
        for name, learner in learners.items():
            learner.add(values.flat(table.column(name)), train)
            learner.trained += train.true_count
    columns, notes = [], []
    for name, learner in learners.items():
        note = learner.unfit()
        if note:
            notes.append(f"column {name} left out: {note}")
            continue
        column = learner.column()
        notes += learner.remarks()
        if name in integers and isinstance(column, NumericColumn):
            column = column.model_copy(update={"integer": True})
        columns.append(column)
    slipped = [column for column in columns if learners[column.name].slips().size]
    return tuple(columns), notes, _without_slips(frames, codes, slipped)


def _without_slips(frames: Frames, codes: np.ndarray, columns: list[NumericColumn]) -> np.ndarray:
    if not columns:
        return codes
    codes = codes.copy()
    for start, raw in frames.blocks([column.name for column in columns]):
        table = conform(raw, {column.name: "numeric" for column in columns})[0]
        for column in columns:
            numbers = values.numbers(table.column(column.name))[0]
            low, high = column.limits
            far = (numbers < low) | (numbers > high)
            codes[start : start + raw.num_rows][far] = splits.LEFT_OUT
    return codes


def learn_target(frames: Frames, codes: np.ndarray, target: Target, kind: Kind) -> Target:
    """Return the target with how it is spread over the training split."""
    counts = np.zeros(len(target.classes or ()), np.int64)
    reservoir = Reservoir()
    for start, raw in frames.blocks([target.name]):
        train = codes[start : start + raw.num_rows] == 0
        table = conform(raw, {target.name: kind})[0].filter(pa.array(train))
        found = target_codes(target, table.column(target.name))[0]
        if target.classes:
            counts += np.bincount(found, minlength=len(counts))
        else:
            reservoir.add(found)
    rows = int(counts.sum()) or reservoir.seen
    if not rows:
        return target
    spread = Spread(rows=rows, shares=_shares(counts.tolist(), rows)) if target.classes else None
    return target.model_copy(update={"spread": spread or reservoir.spread(rows)})


class Moments:
    """Mean and variance of numbers that come block by block (Chan, Golub and LeVeque, 1983)."""

    def __init__(self) -> None:
        self.count: Any = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, numbers: np.ndarray) -> None:
        """Take in numbers, along their first axis."""
        count = len(numbers)
        if not count:
            return
        mean = numbers.mean(axis=0, dtype=np.float64)
        squares = ((numbers - mean) ** 2).sum(axis=0, dtype=np.float64)
        total = self.count + count
        gap = mean - self.mean
        self.squares = self.squares + squares + gap**2 * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total

    @property
    def std(self) -> Any:
        """The standard deviation of all numbers so far; 0 where there are none."""
        return np.sqrt(self.squares / max(self.count, 1))


def _steady(number: float) -> float:
    """Round away the last bits, which depend on how rows happen to come in blocks."""
    return float(f"{number:.12g}")


def _spread(reservoir: Reservoir, rows: int) -> Spread | None:
    return reservoir.spread(rows) if reservoir.seen else None


def _shares(counts: list[int], rows: int) -> tuple[float, ...]:
    return tuple(round(count / rows, 6) for count in counts)


class _Learner(ABC):
    def __init__(self, name: str):
        self.name = name
        self.nullable = False
        self.trained = 0

    @abstractmethod
    def add(self, column: pa.Array, train: pa.Array) -> None: ...

    def unfit(self) -> str:
        return ""

    def remarks(self) -> list[str]:
        return []

    def slips(self) -> np.ndarray:
        return np.empty(0)

    @abstractmethod
    def column(self) -> Any: ...


class _Ranged(_Learner):
    def __init__(self, name: str):
        super().__init__(name)
        self.low: Any = np.inf
        self.high: Any = -np.inf

    def _span(self, numbers: np.ndarray) -> None:
        if numbers.size:
            self.low = min(self.low, numbers.min())
            self.high = max(self.high, numbers.max())

    def unfit(self) -> str:
        return "it has no value in the rows that are used" if self.low > self.high else ""


class _Numeric(_Ranged):
    def __init__(self, name: str):
        super().__init__(name)
        self.moments = Moments()
        self.reservoir = Reservoir()
        self.ends = Ends()

    def add(self, column: pa.Array, train: pa.Array) -> None:
        numbers = values.numbers(column)[0]
        absent = np.isnan(numbers)
        chosen = train.to_numpy(zero_copy_only=False)
        if absent.any():
            self.nullable = True
            numbers, chosen = numbers[~absent], chosen[~absent]
        self._span(numbers)
        self.ends.add(numbers)
        self.moments.add(numbers[chosen])
        self.reservoir.add(numbers[chosen])

    def remarks(self) -> list[str]:
        slips = self.slips()
        if not len(slips):
            return []
        return [
            f"column {self.name}: {counted(len(slips), 'row')} left out, whose value lies far "
            f"outside all others (such as {describe_number(slips[0])})"
        ]

    def slips(self) -> np.ndarray:
        return self.ends.slips(self.reservoir.values)

    def column(self) -> NumericColumn:
        low, high = self.ends.range(self.reservoir.values)
        moments = self.moments
        if len(self.slips()):
            # What a slip did to the sums cannot be taken back; the sample is near enough.
            moments = Moments()
            sample = self.reservoir.values
            moments.add(sample[(sample >= low) & (sample <= high)])
        return NumericColumn(
            name=self.name,
            nullable=self.nullable,
            mean=_steady(moments.mean),
            std=_steady(moments.std),
            low=low,
            high=high,
            spread=_spread(self.reservoir, self.trained),
        )


class _Categorical(_Learner):
    def __init__(self, name: str):
        super().__init__(name)
        self.words: Counter[str] = Counter()
        self.seen = 0
        self.forgotten = 0
        # By how much a count may be too low (as in Manku and Motwani's lossy counting, 2002): a
        # word that was forgotten had at most the least count that was kept.
        self.error = 0

    def add(self, column: pa.Array, train: pa.Array) -> None:
        self.nullable = self.nullable or column.null_count > 0
        counts = pc.value_counts(column.filter(train).drop_null())
        words, numbers = counts.field(0).to_pylist(), counts.field(1).to_numpy()
        self.words.update(dict(zip(words, numbers.tolist(), strict=True)))
        self.seen += int(numbers.sum())
        if len(self.words) > MAX_WORDS:
            kept = self.words.most_common(MAX_WORDS // 2)
            self.forgotten += len(self.words) - len(kept)
            self.error += kept[-1][1]
            self.words = Counter(dict(kept))

    def unfit(self) -> str:
        distinct = len(self.words) + self.forgotten
        if distinct > MIN_DISTINCT and distinct > DISTINCT * self.seen:
            return f"nearly all of its values are different ({distinct:,} in {self.seen:,} rows)"
        return "" if self.words else "it has no value in the training split"

    def remarks(self) -> list[str]:
        rare = len(self.words) + self.forgotten - VOCABULARY
        if rare <= 0:
            return []
        told = f"column {self.name}: {rare:,} rarer values beyond {VOCABULARY:,} count as unknown"
        return [f"{told} (counts too low by up to {self.error:,})" if self.error else told]

    def column(self) -> CategoricalColumn:
        frequent = sorted(self.words.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY]
        vocabulary = tuple(sorted(word for word, _ in frequent))
        spread = Spread(
            rows=self.trained,
            shares=_shares([self.words[word] for word in vocabulary], self.trained),
            missing=round(1 - self.seen / self.trained, 6),
        )
        return CategoricalColumn(
            name=self.name, nullable=self.nullable, vocabulary=vocabulary, spread=spread
        )


class _Boolean(_Learner):
    def __init__(self, name: str):
        super().__init__(name)
        self.counts = np.zeros(2, np.int64)

    def add(self, column: pa.Array, train: pa.Array) -> None:
        self.nullable = self.nullable or column.null_count > 0
        truths = column.filter(train)
        self.counts += [truths.false_count, truths.true_count]

    def column(self) -> BooleanColumn:
        spread = None
        if self.trained:
            shares = _shares(self.counts.tolist(), self.trained)
            missing = round(1 - int(self.counts.sum()) / self.trained, 6)
            spread = Spread(rows=self.trained, shares=shares, missing=missing)
        return BooleanColumn(name=self.name, nullable=self.nullable, spread=spread)


class _Datetime(_Ranged):
    def add(self, column: pa.Array, train: pa.Array) -> None:
        micro = values.moments(column)[0]
        absent = micro == values.NOT_A_TIME
        self.nullable = self.nullable or bool(absent.any())
        self._span(micro[~absent])

    def column(self) -> DatetimeColumn:
        low, high = us_to_iso(self.low), us_to_iso(self.high)
        return DatetimeColumn(name=self.name, nullable=self.nullable, low=low, high=high)


class _List(_Ranged):
    def __init__(self, name: str):
        super().__init__(name)
        self.moments = Moments()
        self.reservoir = Reservoir()

    def add(self, column: pa.Array, train: pa.Array) -> None:
        if not len(column):
            return
        numbers = list_values(column).reshape(len(column), -1)
        self._span(numbers)
        chosen = numbers[train.to_numpy(zero_copy_only=False)]
        self.moments.add(chosen)
        self.reservoir.add(chosen.ravel())

    def column(self) -> ListColumn:
        return ListColumn(
            name=self.name,
            length=len(self.moments.mean),
            mean=tuple(map(_steady, self.moments.mean)),
            std=tuple(map(_steady, self.moments.std)),
            low=float(self.low),
            high=float(self.high),
            spread=_spread(self.reservoir, self.reservoir.seen),
        )


_LEARNERS: dict[Kind, type[_Learner]] = {
    "numeric": _Numeric,
    "categorical": _Categorical,
    "boolean": _Boolean,
    "datetime": _Datetime,
    "list": _List,
}
