"""The first look at all rows: which can be used, what the target is, which split each is in.

One streaming pass. Of each row it keeps a hash and a label while the splits are made, and one byte
after; beyond `EXACT_ROWS` rows it keeps the byte alone, and shares hold on average.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from secateur.data import splits, values
from secateur.data.contract import Contract, Target, counted, describe_number
from secateur.data.encode import target_codes
from secateur.data.faults import check
from secateur.data.frames import Frames
from secateur.data.kinds import Fault, Kind, conform
from secateur.errors import DataError
from secateur.files import reserve

EXACT_ROWS = 5_000_000
MAX_WHOLE_CLASSES = 100
MAX_CLASSES = 10_000
# The share of rows that are copies of others from which on it is said.
NOTED_COPIES = 0.01


@dataclass(frozen=True)
class Question:
    """What is asked of the data: the arguments of `read` that decide on rows."""

    target: str
    kinds: Mapping[str, Kind]
    lengths: Mapping[str, int]
    whole: bool
    above: float | None
    group: str | None
    stratify: bool
    shares: splits.Shares
    seed: int
    class_names: Sequence[str] | Mapping[str, str] | None
    contract: Contract | None = None


@dataclass(frozen=True)
class Survey:
    """What the first look found.

    Attributes:
        codes: one byte a row: its split, a place in `splits.NAMES`, or `splits.LEFT_OUT`.
        target: the target and its classes.
        notes: what was left out, and why.
        digest: a hash of the content of all rows, whatever their order.
    """

    codes: np.ndarray
    target: Target
    notes: tuple[str, ...]
    digest: str


def survey(frames: Frames, ask: Question) -> Survey:
    """Look at all rows once.

    Raises:
        DataError: the target has one class or too many, no row can be used, or a split is empty.
    """
    exact = frames.rows <= EXACT_ROWS
    labels = _Labels(ask)
    notes, digest = _Notes(), _Digest()
    codes = _no_codes(frames.rows)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    inputs = {name: kind for name, kind in ask.kinds.items() if name != ask.target}
    columns = [*ask.kinds]
    if ask.group and ask.group not in columns:
        columns.append(ask.group)
    for start, raw in frames.blocks(columns):
        table, faults = conform(raw, ask.kinds, ask.lengths)
        lacking = values.missing(table.column(ask.target))
        labels.lacking = labels.lacking or bool(lacking.any())
        if ask.contract is not None:
            faults, lacking = _broken(ask.contract, table, faults, lacking)
        use = notes.usable(start, raw.num_rows, faults, lacking, ask.target)
        content = splits.hash_rows(table.select(list(inputs)))
        digest.add(content, table.column(ask.target))
        if ask.group:
            content = _group_of(raw.column(ask.group), ask.group)
        hashes = splits.seeded(content, ask.seed)[use]
        label = labels.add(table.column(ask.target).filter(pa.array(use)))
        here = codes[start : start + raw.num_rows]
        here[use] = splits.assign_loosely(hashes, ask.shares)
        if exact:
            kept.append((hashes, label))
    target, label_notes = labels.target()
    if not labels.rows:
        raise DataError(f"none of the {frames.rows:,} rows can be used: {notes.first()}.")
    if exact:
        hashes, label = (np.concatenate(side) for side in zip(*kept, strict=True))
        stratify = ask.stratify and target.classes is not None
        if ask.group is None:
            hashes, copies = splits.apart(hashes)
            label_notes += _copies_note(copies, len(hashes))
        codes[codes != splits.LEFT_OUT] = _assign(hashes, label if stratify else None, ask)
    splits.demand_rows(codes)
    return Survey(codes, target, (*notes.all(), *label_notes), digest.hex())


def _no_codes(rows: int) -> np.ndarray:
    """Return a byte for each row, in a file that has no name where there are many rows."""
    if rows <= EXACT_ROWS:
        return np.full(rows, splits.LEFT_OUT, np.uint8)
    try:
        with tempfile.TemporaryFile(prefix="secateur-") as file:
            reserve(file.fileno(), rows)
            codes = np.memmap(file, np.uint8, mode="r+", shape=(rows,))
    except OSError as error:
        raise DataError(
            f"the splits of {rows:,} rows cannot be kept: {error.strerror or error}.",
            where=tempfile.gettempdir(),
            mend="Make room there, or set TMPDIR to a folder on a larger disk.",
        ) from error
    codes[:] = splits.LEFT_OUT
    return codes


def _copies_note(copies: int, rows: int) -> list[str]:
    if copies <= NOTED_COPIES * rows:
        return []
    where = "spread over the splits" if 2 * copies > rows else "kept in one split"
    return [f"{counted(copies, 'row')} with the same inputs as another row, {where}"]


def _group_of(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """Return a hash of the group of each row.

    Raises:
        DataError: the column holds lists, or the like.
    """
    if not pa.types.is_nested(column.type):
        with contextlib.suppress(pa.ArrowException):
            return splits.hash_column(column)
    raise DataError(
        f"rows cannot be grouped by a column of {column.type}.",
        where=f"group {name}",
        mend="Group by a column of words, numbers or dates.",
    )


def _broken(
    contract: Contract, table: pa.Table, faults: list[Fault], lacking: np.ndarray
) -> tuple[list[Fault], np.ndarray]:
    """Add the rows that break a contract that is known already, or whose class it does not know."""
    checked = check(contract, table)
    if checked.reasons:
        reason = checked.reasons[0][1]
        faults = [*faults, Fault("", ~checked.good, "the contract", reason)]
    if contract.target is not None:
        lacking = lacking | target_codes(contract.target, table.column(contract.target.name))[1]
    return faults, lacking


def _assign(hashes: np.ndarray, labels: np.ndarray | None, ask: Question) -> np.ndarray:
    if ask.group is None:
        return splits.assign(hashes, ask.shares, labels)
    try:
        return splits.assign_groups(hashes, ask.shares)
    except DataError as error:
        raise DataError(error.what, where=f"column {ask.group}", mend=error.mend) from error


def make_target(
    name: str,
    classes: Sequence[str],
    class_names: Sequence[str] | Mapping[str, str] | None,
    above: float | None = None,
) -> Target:
    """Make a target of classes, under other names where they are given.

    Raises:
        DataError: there is one class, or the names do not fit the classes.
    """
    classes = tuple(classes)
    if class_names is None:
        return Target(name=name, classes=classes, above=above)
    if isinstance(class_names, Mapping):
        names = tuple(str(class_names.get(label, label)) for label in classes)
        for label in class_names:
            if str(label) not in classes:
                raise DataError(f"`class_names` names {label!r}, which is not a class of {name}.")
    else:
        names = tuple(map(str, class_names))
    if len(names) != len(classes) or len(set(names)) != len(names):
        raise DataError(
            f"{len(set(names))} different `class_names` were given for {len(classes)} classes "
            f"({', '.join(classes[:10])})."
        )
    return Target(name=name, classes=names, above=above, labels=classes)


def in_order(labels: Sequence[str]) -> list[str]:
    """Sort labels: as numbers where all are whole numbers, else as text."""
    try:
        return sorted(labels, key=int)
    except ValueError:
        return sorted(labels)


class _Labels:
    """Gathers the target's values, and gives each a number while it is not known what they are."""

    def __init__(self, ask: Question):
        self.ask = ask
        self.numeric = ask.kinds[ask.target] == "numeric"
        self.counts: Counter[str] = Counter()
        self.ids: dict[str, int] = {}
        self.whole = True
        self.lacking = False
        self.rows = 0
        if ask.above is not None and not self.numeric:
            raise DataError(
                f"`above` asks for a number, and the column holds none ({ask.kinds[ask.target]}).",
                where=f"target {ask.target}",
            )

    def add(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return a label for each row: the same for the same value."""
        self.rows += len(column)
        known = self.ask.contract.target if self.ask.contract else None
        if known is not None:
            return target_codes(known, column)[0].astype(np.int32)
        if self.ask.above is not None:
            over = values.numbers(column)[0] > self.ask.above
            self._count(["0", "1"], np.bincount(over, minlength=2))
            return over.astype(np.int32)
        nothing = np.zeros(len(column), np.int32)
        if self.numeric:
            numbers = values.numbers(column)[0]
            self.whole = self.whole and bool((numbers == np.round(numbers)).all())
            if not self.whole or len(self.ids) > MAX_WHOLE_CLASSES:
                return nothing
        encoded = values.words(column).dictionary_encode()
        found = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        self._count(found, np.bincount(codes, minlength=len(found)))
        if len(self.ids) > MAX_CLASSES:
            raise DataError(
                f"the target has more than {MAX_CLASSES:,} different values, which are no classes.",
                where=f"target {self.ask.target}",
                mend="Name a column of classes or of numbers.",
            )
        ids = [self.ids.setdefault(value, len(self.ids)) for value in found]
        return np.array(ids, np.int32)[codes] if found else nothing

    def target(self) -> tuple[Target, list[str]]:
        """Return the target, and notes on how it was taken."""
        ask = self.ask
        if ask.contract is not None and ask.contract.target is not None:
            return ask.contract.target, []
        if ask.above is not None:
            limit = describe_number(ask.above)
            names = (f"<= {limit}", f"> {limit}")
            for name, key in zip(names, "01", strict=True):
                if self.rows and not self.counts[key]:
                    raise DataError(
                        f"no row has {ask.target} {name}.", where=f"target {ask.target}"
                    )
            return make_target(ask.target, names, ask.class_names, ask.above), []
        if self.numeric and not self._are_classes():
            if ask.class_names is not None:
                raise DataError(
                    "`class_names` were given, and the target is a number to be predicted.",
                    where=f"target {ask.target}",
                )
            return Target(name=ask.target), [
                f"target {ask.target} holds numbers: it is predicted as a number (regression)"
            ]
        if self.rows and len(self.ids) < 2:
            only = next(iter(self.ids), None)
            raise DataError(
                f"the target has one class, {only!r}, in all {self.rows:,} rows.",
                where=f"target {ask.target}",
                mend="Name another target, or give data with a second class.",
            )
        classes = in_order(list(self.ids))
        notes = []
        if self.numeric:
            notes = [
                f"target {ask.target} holds whole numbers with {len(classes)} different values: "
                "they are taken as classes"
            ]
        rare = [name for name in classes if self.counts[name] < 3]
        if rare:
            notes.append(f"classes with fewer than 3 rows: {', '.join(rare[:10])}")
        return make_target(ask.target, classes, ask.class_names), notes

    def _are_classes(self) -> bool:
        # pandas holds whole numbers with gaps as floats, so that those may be classes as well.
        whole = self.whole and (self.ask.whole or self.lacking)
        return whole and len(self.ids) <= MAX_WHOLE_CLASSES

    def _count(self, found: Sequence[str], counts: np.ndarray) -> None:
        for value, count in zip(found, counts, strict=True):
            self.counts[value] += int(count)


@dataclass
class _Notes:
    """Counts the rows that are left out, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def usable(
        self, start: int, rows: int, faults: Sequence[Fault], lacking: np.ndarray, target: str
    ) -> np.ndarray:
        use = np.ones(rows, dtype=bool)
        for fault in faults:
            reason = f"whose column {fault.column} {fault.what}"
            if not fault.column:
                reason = f"that break {fault.what}"
            self._add(
                reason, fault.mask & use, f"row {start + fault.mask.argmax()}: {fault.example}"
            )
            use &= ~fault.mask
        self._add(f"without a target ({target})", lacking & use, "")
        return use & ~lacking

    def all(self) -> list[str]:
        return [
            f"{counted(count, 'row')} {reason} left out{self.examples[reason]}"
            for reason, count in self.counts.items()
        ]

    def first(self) -> str:
        return self.all()[0] if self.counts else "there are none"

    def _add(self, reason: str, mask: np.ndarray, example: str) -> None:
        if mask.any():
            self.counts[reason] += int(mask.sum())
            self.examples.setdefault(reason, f" (first: {example})" if example else "")


class _Digest:
    """A hash of rows that does not depend on their order: the sums of two hashes of each row."""

    def __init__(self) -> None:
        self.sums = np.zeros(2, np.uint64)
        self.rows = 0

    def add(self, content: np.ndarray, target: pa.ChunkedArray) -> None:
        rows = splits.mix(content * np.uint64(31) + splits.hash_rows(pa.table({"": target})))
        self.sums += np.array([rows.sum(), splits.mix(rows).sum()], np.uint64)
        self.rows += len(rows)

    def hex(self) -> str:
        return hashlib.sha256(self.sums.tobytes() + str(self.rows).encode()).hexdigest()
