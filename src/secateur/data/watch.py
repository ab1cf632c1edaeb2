"""What the values of a column are like now, gathered block by block, beside the training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from secateur.data import values
from secateur.data.columns import us_to_iso
from secateur.data.contract import (
    BooleanColumn,
    CategoricalColumn,
    DatetimeColumn,
    ListColumn,
    Target,
)
from secateur.data.encode import target_codes
from secateur.data.faults import Fault
from secateur.data.lists import list_values
from secateur.data.spread import Reading, Spread, reading
from secateur.data.values import pc

# New words that are counted; beyond, the rarest are forgotten.
MAX_WORDS = 2_000
EXAMPLES = 5


class ColumnFinding(BaseModel):
    """How a column differs from the training data.

    Attributes:
        name: the column; of photos "brightness" and "pixels", of the target its name.
        kind: what the contract says it is.
        unit: the unit of measure, where the contract has one.
        types: the types that files store it in; text for CSV.
        rows: the rows that were looked at.
        missing: how many have no value.
        missing_in_training: the share of training rows that had none, where it is known.
        bad: the rows that break the contract, by how: "missing", "type", "infinite", "range",
            "length".
        low: the least value, for numbers and dates.
        high: the greatest.
        new: the rows with a word that is not in the vocabulary; they are scored as unknown.
        examples: the most frequent of these words, with how often each is there.
        psi: the population stability index, where the contract knows the training spread.
        noise: what the index of as many rows of training data exceeds once in a hundred times.
        reading: "steady", "shifted" or "changed".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    unit: str | None = None
    types: tuple[str, ...] = ()
    rows: int = 0
    missing: int = 0
    missing_in_training: float | None = None
    bad: dict[str, int] = {}
    low: float | str | None = None
    high: float | str | None = None
    new: int = 0
    examples: dict[str, int] = {}
    psi: float | None = None
    noise: float | None = None
    reading: Reading | None = None

    @property
    def differs(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.bad or self.new or self.reading in ("shifted", "changed"))


class Watch:
    """Watches one column; memory does not grow with the rows.

    Args:
        name: the column.
        kind: what it holds.
        spread: what it was like in training.
        vocabulary: its words, where it holds words.
        unit: the unit of measure.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        spread: Spread | None,
        vocabulary: tuple[str, ...] = (),
        unit: str | None = None,
    ):
        self.name, self.kind, self.spread, self.unit = name, kind, spread, unit
        self.vocabulary = vocabulary
        self.rows = self.missing = self.new = self.measured = self.gone = 0
        self.bad: Counter[str] = Counter()
        self.types: set[str] = set()
        self.words: Counter[str] = Counter()
        self.low, self.high = np.inf, -np.inf
        self.counts = np.zeros(len(spread.shares) if spread else 0, np.int64)
        self._set = pa.array(vocabulary, pa.string())

    def add(self, column: Any, data: pa.Array | pa.ChunkedArray, faults: list[Fault]) -> None:
        """Take in a block of a column of the contract, and what `faults_of` says of it."""
        self.rows += len(data)
        for fault in faults:
            self.bad[fault.way] += int(fault.mask.sum())
        array = values.flat(data)
        gone = int(values.missing(array).sum())
        self.missing += gone
        if any(fault.way == "type" and fault.mask.all() for fault in faults):
            return
        if isinstance(column, CategoricalColumn):
            self.add_words(array)
        elif isinstance(column, BooleanColumn):
            truths = values.truths(array)[0]
            self._count(np.array([(truths == 0).sum(), (truths == 1).sum()]), gone)
        elif isinstance(column, DatetimeColumn):
            micro = values.moments(array)[0]
            self._ends(micro[micro != values.NOT_A_TIME])
        elif isinstance(column, ListColumn):
            self.add_numbers(list_values(array))
        else:
            self.add_numbers(values.numbers(array)[0], gone)

    def add_numbers(self, numbers: np.ndarray, gone: int = 0) -> None:
        """Take in numbers; `gone` of them are missing."""
        finite = numbers[np.isfinite(numbers)]
        self._ends(finite)
        if self.spread is not None:
            self._count(self.spread.bins(finite), gone)

    def add_words(self, array: pa.Array) -> None:
        """Take in words."""
        counted = pc.value_counts(values.words(array).drop_null())
        words, numbers = counted.field(0), counted.field(1).to_numpy()
        places = pc.fill_null(pc.index_in(words, value_set=self._set), -1).to_numpy()
        known = places >= 0
        counts = np.zeros(len(self.vocabulary), np.int64)
        counts[places[known]] = numbers[known]
        fresh = np.flatnonzero(~known)
        self.new += int(numbers[fresh].sum())
        # Many words that are all different say one thing together, and are not all worth keeping.
        for place in fresh[np.argsort(-numbers[fresh], kind="stable")][:MAX_WORDS]:
            word = words[int(place)].as_py()
            self.words[word if len(word) <= 60 else f"{word[:57]}..."] += int(numbers[place])
        if len(self.words) > 2 * MAX_WORDS:
            self.words = Counter(dict(self.words.most_common(MAX_WORDS)))
        if self.spread is not None:
            self._count(counts, len(array) - int(numbers.sum()))

    def add_target(self, target: Target, column: pa.Array | pa.ChunkedArray) -> None:
        """Take in the target's values."""
        self.rows += len(column)
        self.missing += int(values.missing(column).sum())
        codes, bad = target_codes(target, column)
        self.bad["type"] += int(bad.sum())
        if target.classes:
            self._count(np.bincount(codes[~bad], minlength=len(target.classes)), int(bad.sum()))
        else:
            self.add_numbers(codes[~bad], int(bad.sum()))

    def finding(self) -> ColumnFinding:
        """Return what was found."""
        found: dict[str, Any] = {}
        if self.spread is not None and self.measured + self.new:
            other = self.new if self.kind == "categorical" else 0
            index = self.spread.distance(self.counts, self.gone, other)
            noise = self.spread.noise(self.measured + other)
            found = {
                "psi": round(index, 4),
                "noise": round(noise, 4),
                "reading": reading(index, noise),
            }
        if self.low <= self.high:
            dates = self.kind == "datetime"
            low, high = (us_to_iso(int(e)) if dates else float(e) for e in (self.low, self.high))
            found |= {"low": low, "high": high}
        return ColumnFinding(
            name=self.name,
            kind=self.kind,
            unit=self.unit,
            types=tuple(sorted(self.types)),
            rows=self.rows,
            missing=self.missing,
            missing_in_training=self.spread.missing if self.spread else None,
            bad={way: count for way, count in sorted(self.bad.items()) if count},
            new=self.new,
            examples=dict(self.words.most_common(EXAMPLES)),
            **found,
        )

    def _ends(self, numbers: np.ndarray) -> None:
        if numbers.size:
            self.low = min(self.low, numbers.min())
            self.high = max(self.high, numbers.max())

    def _count(self, counts: np.ndarray, gone: int) -> None:
        if self.spread is None or len(counts) != len(self.counts):
            return
        self.counts += counts
        self.gone += gone
        self.measured += int(counts.sum()) + gone


def watch(column: Any) -> Watch:
    """Return a watch for a column of a contract."""
    vocabulary = getattr(column, "vocabulary", ())
    return Watch(column.name, column.kind, column.spread, vocabulary, getattr(column, "unit", None))


def told(finding: ColumnFinding, ways: Mapping[str, str]) -> str:
    """Say in a few words what a finding is, for people; "" where there is nothing to tell."""
    said = [f"{count:,} {ways[way]}" for way, count in finding.bad.items()]
    if finding.new:
        some = ", ".join(f"{word} ({count:,})" for word, count in finding.examples.items())
        said.append(f"{finding.new:,} new: {some}")
    if finding.bad.get("range") or finding.bad.get("infinite"):
        ends = [e if isinstance(e, str) else f"{e:.6g}" for e in _ends_of(finding)]
        said.append(f"from {' to '.join(ends)}")
    return "; ".join(said)


def _ends_of(finding: ColumnFinding) -> list[float | str]:
    return [end for end in (finding.low, finding.high) if end is not None]
