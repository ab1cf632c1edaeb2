"""What is done with a block of raw rows: check, encode, predict; the good scored, the bad named.

A `Scorer` holds no state between blocks, so any thread may score any block.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import BooleanColumn, Contract, NumericColumn
from secateur.data.encode import Encoded, Features
from secateur.data.faults import Checked, check
from secateur.data.images import load_image
from secateur.data.places import REQUESTS, Place
from secateur.data.shards import Sample, samples
from secateur.data.sources import Block, names_of
from secateur.errors import DataError
from secateur.formats.predictor import Predictor
from secateur.scoring.answers import (
    KEY,
    Bad,
    Carry,
    Probability,
    as_json,
    demand_free,
    raw_rows,
    score_table,
)
from secateur.scoring.pieces import Piece, read
from secateur.scoring.sink import Compression

# Rows that go through the model at once, so that a layer's output is still in the cache when the
# next layer reads it; fewer where a row is large.
CHUNK_ROWS = 1024
_CHUNK_BYTES = 2 * 2**20
# Rows that are read, checked and encoded at once: each block has a price a column, whatever its
# length, and each thread holds one.
BLOCK_ROWS = 32 * CHUNK_ROWS
_BLOCK_BYTES = 16 * 2**20


class Files(NamedTuple):
    """Some image files of a piece, relative to its root."""

    names: tuple[str, ...]


class Members(NamedTuple):
    """Some samples of a shard of images, and the position of the first."""

    first: int
    samples: tuple[Sample, ...]


class Scored(NamedTuple):
    """What became of a block: scores where there are any, and the bad rows."""

    scores: pa.Table | None
    bad: list[Bad]
    rows: int


@dataclass(frozen=True)
class Scorer:
    """An artifact's model with what to write beside its predictions, and how.

    Attributes:
        block_rows: the rows that are read at a time; where None, what fits.
        chunk_rows: the rows of one call of the model; where None, what suits a cache.
    """

    predictor: Predictor
    contract: Contract
    keys: tuple[str, ...] = ()
    probability: Probability = True
    block_rows: int | None = None
    carry: Carry = "keys"
    compression: Compression = "snappy"
    chunk_rows: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to read: the model's inputs, then the keys."""
        inputs = (column.name for column in self.contract.columns)
        return tuple(dict.fromkeys([*inputs, *self.keys]))

    def blocks(self, piece: Piece) -> Iterator[Block | Files | Members]:
        """Stream a piece in blocks.

        Raises:
            DataError: the piece cannot be read.
        """
        if piece.part.kind == "image":
            names, step = piece.part.files, self.block_rows or self._chunk
            yield from (Files(names[i : i + step]) for i in range(0, len(names), step))
            return
        if piece.part.kind == "tar":
            yield from self._members(piece)
            return
        rows = self.block_rows or min(BLOCK_ROWS, max(1, _BLOCK_BYTES // self._row_bytes))
        columns = self.columns
        if self.carry == "all":
            names = names_of(piece.part, contract=self.contract)
            demand_free(names, self.contract, piece.part.file)
            columns = tuple(dict.fromkeys([*names, *columns]))
        yield from read(piece, columns, self.contract, batch_rows=rows)

    def score(self, piece: Piece, block: Block | Files | Members) -> Scored:
        """Score one block of a piece.

        Raises:
            DataError: the block has no column, or another type of column, than the contract needs.
        """
        if isinstance(block, Files):
            return self._score_files(piece.part.home, block.names)
        if isinstance(block, Members):
            return self._score_members(piece.part.path, block)
        try:
            return self._score_rows(piece.part.path, piece.part.kind == "csv", block)
        except pa.ArrowException as error:
            raise DataError(f"a column cannot be read: {error}.", where=piece.part.file) from error

    def _score_rows(self, source: str, text: bool, block: Block) -> Scored:
        checked = check(self.contract, block.table)
        bad = [Bad(source, row.row, row.reason, as_json(row.raw)) for row in block.bad]
        bad += _bad_rows(source, block, checked)
        total = block.table.num_rows + len(block.bad)
        table, rows = block.table, block.rows
        if checked.reasons:
            table, rows = table.filter(pa.array(checked.good)), rows[checked.good]
        if not len(rows):
            return Scored(None, bad, total)
        outputs = self._predict(Features(self.contract, table).rows, len(rows))
        names = self.keys if self.carry == "keys" else table.column_names
        keys = self._carried(table.select(list(names)), text=text) if names else None
        if not np.isfinite(outputs).all():
            finite = _finite(outputs)
            bad += [Bad(source, int(row), _NOT_FINITE) for row in rows[~finite]]
            outputs, rows = outputs[finite], rows[finite]
            keys = None if keys is None else keys.filter(pa.array(finite))
        return Scored(self._table(outputs, source, rows, keys), bad, total)

    def _members(self, piece: Piece) -> Iterator[Members]:
        assert self.contract.image is not None
        step = self.block_rows or self._chunk
        found = samples(piece.part.file, max_bytes=self.contract.image.max_bytes)
        first = 0
        while some := tuple(itertools.islice(found, step)):
            yield Members(first, some)
            first += len(some)

    def _score_files(self, root: Path | Place, names: tuple[str, ...]) -> Scored:
        loaded = self._load([root / name for name in names])
        return self._score_images(names, np.zeros(len(names), np.int64), loaded, None)

    def _score_members(self, shard: str, block: Members) -> Scored:
        some = block.samples
        loaded = self._load([s.image or DataError(f"{s.reason}.") for s in some])
        rows = np.arange(block.first, block.first + len(some))
        keys = pa.table({KEY: pa.array([s.key for s in some], pa.string())})
        return self._score_images([shard] * len(some), rows, loaded, keys)

    def _load(
        self, files: Sequence[Path | Place | bytes | DataError]
    ) -> list[np.ndarray | DataError]:
        """Decode images, or say of each why that cannot be done."""
        spec = self.contract.image
        assert spec is not None

        def load(file: Path | Place | bytes | DataError) -> np.ndarray | DataError:
            try:
                return file if isinstance(file, DataError) else load_image(file, spec)
            except DataError as error:
                return error

        if not isinstance(files[0], Place):
            return list(map(load, files))
        with ThreadPoolExecutor(min(REQUESTS, len(files))) as pool:
            return list(pool.map(load, files))

    def _score_images(
        self,
        sources: Sequence[str],
        rows: np.ndarray,
        loaded: Sequence[np.ndarray | DataError],
        keys: pa.Table | None,
    ) -> Scored:
        names = [""] * len(rows) if keys is None else keys.column(KEY).to_pylist()

        def bad_at(place: int, reason: str) -> Bad:
            raw = as_json({KEY: names[place]}) if names[place] else None
            return Bad(sources[place], int(rows[place]), reason, raw)

        bad = [bad_at(i, one.what) for i, one in enumerate(loaded) if isinstance(one, DataError)]
        images = [one for one in loaded if not isinstance(one, DataError)]
        good = np.array([i for i, one in enumerate(loaded) if not isinstance(one, DataError)], int)
        if not images:
            return Scored(None, bad, len(rows))
        outputs = self._predict(lambda i, j: np.stack(images[i:j]), len(images))
        finite = _finite(outputs)
        bad += [bad_at(int(place), _NOT_FINITE) for place in good[~finite]]
        kept = good[finite]
        table = self._table(
            outputs[finite],
            [sources[int(place)] for place in kept],
            rows[kept],
            None if keys is None else keys.take(pa.array(kept)),
        )
        return Scored(table, bad, len(rows))

    def _predict(self, made: Callable[[int, int], Encoded], rows: int) -> np.ndarray:
        """Predict rows that `made` makes, some at a time."""
        step = self._chunk
        chunks = [
            self.predictor.predict(made(i, min(i + step, rows))) for i in range(0, rows, step)
        ]
        return np.concatenate(chunks)

    def _table(
        self,
        outputs: np.ndarray,
        source: str | Sequence[str],
        rows: np.ndarray,
        keys: pa.Table | None,
    ) -> pa.Table:
        return score_table(
            outputs,
            self.contract,
            probability=self.probability,
            source=source,
            rows=rows,
            keys=keys,
            features=self.predictor.manifest.output == "features",
        )

    def _carried(self, keys: pa.Table, *, text: bool) -> pa.Table:
        """Return columns of the data in types that are the same for all blocks of a file."""
        if not text:
            return keys
        kinds = {column.name: type(column) for column in self.contract.columns}
        for index, name in enumerate(keys.column_names):
            if kinds.get(name) is NumericColumn:
                column = pa.array(values.numbers(keys.column(index))[0], from_pandas=True)
            elif kinds.get(name) is BooleanColumn:
                truths = values.truths(keys.column(index))[0]
                column = pa.array(truths == 1, mask=np.isnan(truths))
            else:
                column = keys.column(index).cast(pa.string())
            keys = keys.set_column(index, name, column)
        return keys

    @property
    def _row_bytes(self) -> int:
        return row_bytes(self.contract)

    @property
    def _chunk(self) -> int:
        return self.chunk_rows or usual_chunk(self.contract)


def row_bytes(contract: Contract) -> int:
    """Return the size of one row as the model's input."""
    shapes = [shape for shape, _ in contract.inputs().values()]
    return max(1, 4 * sum(int(np.prod(shape)) for shape in shapes))


def usual_chunk(contract: Contract) -> int:
    """Return how many rows go through the model at once, where nothing was measured."""
    return max(1, min(CHUNK_ROWS, _CHUNK_BYTES // row_bytes(contract)))


_NOT_FINITE = "the model's output is not a finite number"


def _finite(outputs: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(outputs).all(axis=1))


def _bad_rows(source: str, block: Block, checked: Checked) -> list[Bad]:
    if not checked.reasons:
        return []
    indices, reasons = zip(*checked.reasons, strict=True)
    raw = raw_rows(block.table.take(pa.array(indices)))
    return [
        Bad(source, int(block.rows[index]), reason, as_json(row))
        for index, reason, row in zip(indices, reasons, raw, strict=True)
    ]
