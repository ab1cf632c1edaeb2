"""How data differs from what a model was trained on, before anything is scored.

The data goes the way that scoring goes, block by block, but for the model: what would be
quarantined here is what scoring will quarantine, outputs that are not finite aside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import Contract, ImageSpec
from secateur.data.databases import Query
from secateur.data.faults import faults_of, missing_column
from secateur.data.images import GRAY, image_size, load_image, read_bytes
from secateur.data.places import Place, shown
from secateur.data.shards import samples
from secateur.data.sources import Block, find_parts, names_of
from secateur.data.watch import ColumnFinding, Watch, watch
from secateur.errors import ContractError, DataError, SecateurError
from secateur.scoring.asked import passed_over
from secateur.scoring.findings import DataCheck, ImageFinding, Unread
from secateur.scoring.pieces import Piece, cut, read

BLOCK_ROWS = 32_768
_IMAGES_AT_ONCE = 64
_THREADS = 4
# Different reasons, sizes and files that are told one by one; the rest is counted.
_MOST = 50


def check_data(
    source: str | Path | Query,
    contract: Contract,
    *,
    keys: Sequence[str] | None = None,
    rows: int | None = None,
    progress: Callable[[int, int, int], None] | None = None,
) -> DataCheck:
    """Stream data and tell how it differs from what a contract says, without scoring it.

    Memory does not grow with the data.

    Args:
        source: a file, a folder, a glob, an address in a store or a query, as for `score`.
        contract: what a valid row is.
        keys: columns that are to be carried to the scores; where None, those of the contract.
        rows: look at about so many rows, the same number from the beginning of each piece.
        progress: called now and then with the rows, the pieces that are done, and all pieces.

    Raises:
        DataError: there is no data.
        SecateurError: `rows` is less than 1, or the contract is of arrays.

    Example:
        >>> check_data("data", Contract.load("contract.yaml")).usable  # doctest: +SKIP
        True
    """
    if rows is not None and rows < 1:
        raise SecateurError(f"`rows` is {rows}.", mend="Give 1 or more.")
    if contract.kind == "array":
        raise ContractError("the contract is of arrays, which no file of raw data holds.")
    keys = contract.keys if keys is None else tuple(keys)
    parts = find_parts(source, kind="image" if contract.kind == "image" else "table")
    pieces = cut(parts)
    most = None if rows is None else -(-rows // len(pieces))
    check = _Images(contract) if contract.kind == "image" else _Rows(contract, keys)
    for number, piece in enumerate(pieces):
        try:
            check.piece(piece, most)
        except DataError as error:
            check.cannot_read(piece, error)
        if progress is not None:
            progress(check.rows, number + 1, len(pieces))
    told = str(source) if isinstance(source, Query) else shown(source)
    return check.result(told, pieces, passed_over(source, parts))


class _Check:
    """What both kinds of data have in common."""

    def __init__(self, contract: Contract):
        self.contract = contract
        self.rows = self.quarantined = 0
        self.whole = True
        self.reasons: Counter[str] = Counter()
        self.unread: list[Unread] = []
        self.unread_parts = self.uncounted_parts = 0
        self.absent: Counter[str] = Counter()
        self.extra: Counter[str] = Counter()

    def bad(self, reason: str, rows: int = 1) -> None:
        """Count a reason, under the first of its words where there are too many reasons."""
        reason = _general(reason)
        if reason not in self.reasons and len(self.reasons) >= _MOST:
            reason = "other reasons"
        self.reasons[reason] += rows

    def cannot_read(self, piece: Piece, error: DataError) -> None:
        """Count a piece that scoring quarantines as a whole."""
        self.unread_parts += 1
        self.uncounted_parts += not piece.rows
        if len(self.unread) < _MOST:
            self.unread.append(Unread(source=piece.part.path, reason=error.what, rows=piece.rows))
        self.rows += piece.rows or 0
        self.quarantined += piece.rows or 0
        self.bad(error.what, piece.rows or 0)

    def columns(self) -> tuple[ColumnFinding, ...]:
        raise NotImplementedError

    def images(self) -> ImageFinding | None:
        return None

    def result(
        self, source: str, pieces: Sequence[Piece], passed_over: dict[str, int]
    ) -> DataCheck:
        why = None
        if self.rows == self.quarantined and (self.rows or self.unread_parts):
            first = self.unread[0].reason if self.unread else next(iter(self.reasons))
            why = f"nothing would be scored: {first.rstrip('.')}"
        return DataCheck(
            contract=self.contract.fingerprint(),
            source=source,
            parts=len(pieces),
            rows=self.rows,
            whole=self.whole,
            quarantined=self.quarantined,
            reasons=dict(self.reasons.most_common()),
            unread=tuple(self.unread),
            unread_parts=self.unread_parts,
            uncounted_parts=self.uncounted_parts,
            absent=dict(self.absent.most_common()),
            extra=dict(self.extra.most_common(_MOST)),
            passed_over=passed_over,
            columns=self.columns(),
            images=self.images(),
            usable=why is None,
            unusable=why,
        )


class _Rows(_Check):
    """Rows of tables, against the columns of the contract."""

    def __init__(self, contract: Contract, keys: Sequence[str]):
        super().__init__(contract)
        self.keys = keys
        self.watches = {column.name: watch(column) for column in contract.columns}
        self.target: Watch | None = None
        if contract.target is not None and contract.target.spread is not None:
            kind = "categorical" if contract.target.classes else "numeric"
            self.target = Watch(contract.target.name, f"target, {kind}", contract.target.spread)

    def columns(self) -> tuple[ColumnFinding, ...]:
        watches = [*self.watches.values()]
        if self.target is not None and self.target.rows:
            watches.append(self.target)
        return tuple(each.finding() for each in watches)

    def piece(self, piece: Piece, most: int | None) -> None:
        names = names_of(piece.part, contract=self.contract)
        wanted = dict.fromkeys([*self.watches, *self.keys])
        absent = [name for name in wanted if name not in names]
        self.absent.update(absent)
        aim = self.contract.target.name if self.contract.target else None
        self.extra.update(name for name in names if name not in wanted and name != aim)
        columns = [name for name in wanted if name in names]
        if self.target is not None and aim in names and aim not in columns:
            columns.append(str(aim))
        step = min(BLOCK_ROWS, most or BLOCK_ROWS)
        seen = _Piece()
        for block in self._blocks(piece, columns, step):
            seen.rows += block.table.num_rows + len(block.bad)
            try:
                seen.bad += self._block(block, text=piece.part.kind == "csv", seen=seen)
            except pa.ArrowException as error:
                raise DataError(
                    f"a column cannot be read: {error}.", where=piece.part.file
                ) from error
            if most is not None and seen.rows >= most and seen.rows != piece.rows:
                self.whole = False
                break
        if absent:
            raise ContractError(missing_column(absent[0], names), where=piece.part.file)
        self.rows += seen.rows
        self.quarantined += seen.bad
        for reason, count in seen.reasons.items():
            self.bad(reason, count)

    def _blocks(self, piece: Piece, columns: Sequence[str], step: int) -> Iterator[Block]:
        yield from read(piece, columns, self.contract, batch_rows=step)

    def _block(self, block: Block, *, text: bool, seen: _Piece) -> int:
        """Watch the columns of a block, and return how many of its rows are bad."""
        table = block.table
        bad = np.zeros(table.num_rows, bool)
        for column in self.contract.columns:
            place = table.schema.get_field_index(column.name)
            if place < 0:
                continue
            data = table.column(place)
            faults = faults_of(column, data, self.contract.shape)
            first = ~bad
            for fault in faults:
                bad |= fault.mask
            for fault in faults:
                # A row that is bad in two ways counts under the first.
                fresh = fault.mask & first
                first &= ~fault.mask
                if fresh.any():
                    reason = f"column {column.name}: {fault.describe(int(fresh.argmax()))}"
                    seen.reasons[_general(reason)] += int(fresh.sum())
            kept = self.watches[column.name]
            kept.types.add("text" if text else str(data.type))
            kept.add(column, data, faults)
        aim = self.contract.target
        if self.target is not None and aim is not None and aim.name in table.column_names:
            data = values.flat(table.column(aim.name))
            self.target.types.add("text" if text else str(data.type))
            self.target.add_target(aim, data)
        for row in block.bad:
            seen.reasons[_general(row.reason)] += 1
        return int(bad.sum()) + len(block.bad)


class _Piece:
    """What was seen of one piece; it counts only where the piece can be read to its end."""

    def __init__(self) -> None:
        self.rows = self.bad = 0
        self.reasons: Counter[str] = Counter()


class _Looked(NamedTuple):
    """One image: what is wrong with it, or its size, mode and brightness."""

    wrong: str | None
    size: tuple[int, int, str] | None
    brightness: float


class _Images(_Check):
    """Image files, against the contract's size and limits."""

    def __init__(self, contract: Contract):
        super().__init__(contract)
        assert contract.image is not None
        self.spec = contract.image
        seen = self.spec.spread
        self.watches = (
            Watch("brightness", "image", seen and seen.brightness),
            Watch("pixels", "image", seen and seen.pixels),
        )
        self.sizes: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.gray = 0

    def columns(self) -> tuple[ColumnFinding, ...]:
        return tuple(each.finding() for each in self.watches)

    def images(self) -> ImageFinding:
        good = sum(self.modes.values())
        return ImageFinding(
            sizes=dict(self.sizes.most_common(_MOST)),
            modes=dict(self.modes.most_common()),
            gray=round(self.gray / good, 6) if good else None,
            gray_in_training=self.spec.spread.gray if self.spec.spread else None,
        )

    def piece(self, piece: Piece, most: int | None) -> None:
        found = self._files(piece)
        files, looked = islice(found, most), []
        with ThreadPoolExecutor(_THREADS, "secateur-check") as pool:
            while some := tuple(islice(files, _IMAGES_AT_ONCE)):
                looked += pool.map(lambda file: _look(file, self.spec), some)
        whole = next(found, None) is None
        # Nothing counts of a shard that breaks off: scoring quarantines it as a whole.
        self._take(looked)
        self.whole = self.whole and whole

    def _files(self, piece: Piece) -> Iterator[Path | Place | bytes | DataError]:
        """Yield what there is to decode, or why there is nothing."""
        if piece.part.kind == "tar":
            for each in samples(piece.part.file, max_bytes=self.spec.max_bytes):
                yield each.image or DataError(f"{each.reason}.")
        yield from (piece.part.home / name for name in piece.part.files)

    def _take(self, looked: Sequence[_Looked]) -> None:
        self.rows += len(looked)
        good = [each for each in looked if each.size is not None]
        for each in looked:
            if each.wrong is not None:
                self.quarantined += 1
                self.bad(each.wrong)
        for each in good:
            height, width, mode = each.size or (0, 0, "")
            size = f"{height} x {width}"
            if size not in self.sizes and len(self.sizes) >= 20 * _MOST:
                size = "other sizes"
            self.sizes[size] += 1
            self.modes[mode] += 1
            self.gray += mode in GRAY
        brightness = np.array([each.brightness for each in good])
        pixels = np.array([float(h * w) for h, w, _ in (each.size or (0, 0, "") for each in good)])
        for kept, numbers in zip(self.watches, (brightness, pixels), strict=True):
            kept.rows += len(looked)
            kept.add_numbers(numbers)


def _look(path: Path | Place | bytes | DataError, spec: ImageSpec) -> _Looked:
    try:
        if isinstance(path, DataError):
            raise path
        data = path if isinstance(path, bytes) else read_bytes(path, spec)
        image: Any = load_image(data, spec)
        return _Looked(None, image_size(data), float(image.mean()))
    except DataError as error:
        return _Looked(error.what, None, 0.0)


def _general(reason: str) -> str:
    """Return a reason without the values and numbers that are its own."""
    column, found, rest = reason.partition(": ")
    if found and column.startswith("column "):
        return f"{column}: {_general(rest)}"
    if reason.startswith("there is no column"):
        return reason
    reason = re.sub(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"|b'.*'", "...", reason)
    return re.sub(r"-?\d[\d,.:eE+-]*(?<![,.:])", "...", reason)[:200]
