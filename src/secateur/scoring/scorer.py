"""What is done with a block of raw rows: check, encode, predict; the good scored, the bad named.

A `Scorer` holds no state between blocks, so any thread may score any block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from secateur.data import values
from secateur.data.contract import Contract, NumericColumn
from secateur.data.encode import Checked, check, encode
from secateur.data.images import load_image
from secateur.data.sources import Block
from secateur.errors import DataError
from secateur.formats.predictor import Predictor
from secateur.scoring.answers import Bad, Probability, as_json, score_table
from secateur.scoring.pieces import Piece, read

# Rows that go through the model at once, so that a layer's output is still in the cache when the
# next layer reads it; fewer where a row is large.
CHUNK_ROWS = 1024
_CHUNK_BYTES = 2 * 2**20
# Rows that are read, checked and encoded at once: each block has a price a column, whatever its
# length, and each thread holds one.
BLOCK_ROWS = 32 * CHUNK_ROWS
_BLOCK_BYTES = 16 * 2**20

Inputs = np.ndarray | Mapping[str, np.ndarray]


class Files(NamedTuple):
    """Some image files of a piece, relative to its root."""

    names: tuple[str, ...]


class Scored(NamedTuple):
    """What became of a block: scores where there are any, and the bad rows."""

    scores: pa.Table | None
    bad: list[Bad]
    rows: int


@dataclass(frozen=True)
class Scorer:
    """An artifact's model with what to write beside its predictions."""

    predictor: Predictor
    contract: Contract
    keys: tuple[str, ...] = ()
    probability: Probability = True
    block_rows: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to read: the model's inputs, then the keys."""
        inputs = (column.name for column in self.contract.columns)
        return tuple(dict.fromkeys([*inputs, *self.keys]))

    def blocks(self, piece: Piece) -> Iterator[Block | Files]:
        """Stream a piece in blocks.

        Raises:
            DataError: the piece cannot be read.
        """
        if piece.part.kind == "image":
            names, step = piece.part.files, self.block_rows or self._chunk
            yield from (Files(names[i : i + step]) for i in range(0, len(names), step))
            return
        rows = self.block_rows or min(BLOCK_ROWS, max(1, _BLOCK_BYTES // self._row_bytes))
        yield from read(piece, self.columns, self.contract, batch_rows=rows)

    def score(self, piece: Piece, block: Block | Files) -> Scored:
        """Score one block of a piece.

        Raises:
            DataError: the block has no column, or another type of column, than the contract needs.
        """
        if isinstance(block, Files):
            return self._score_files(Path(piece.part.root), block.names)
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
        outputs = self._predict(encode(self.contract, table))
        keys = self._keys_of(table, text=text) if self.keys else None
        finite = _finite(outputs)
        if not finite.all():
            bad += [Bad(source, int(row), _NOT_FINITE) for row in rows[~finite]]
            outputs, rows = outputs[finite], rows[finite]
            keys = None if keys is None else keys.filter(pa.array(finite))
        return Scored(self._table(outputs, source, rows, keys), bad, total)

    def _score_files(self, root: Path, names: tuple[str, ...]) -> Scored:
        spec = self.contract.image
        assert spec is not None
        images, good, bad = [], [], []
        for name in names:
            try:
                images.append(load_image(root / name, spec))
                good.append(name)
            except DataError as error:
                bad.append(Bad(name, 0, error.what))
        if not good:
            return Scored(None, bad, len(names))
        outputs = self._predict(np.stack(images))
        finite = _finite(outputs)
        bad += [Bad(name, 0, _NOT_FINITE) for name, ok in zip(good, finite, strict=True) if not ok]
        kept = [name for name, ok in zip(good, finite, strict=True) if ok]
        table = self._table(outputs[finite], kept, np.zeros(len(kept), np.int64), None)
        return Scored(table, bad, len(names))

    def _predict(self, x: Inputs) -> np.ndarray:
        arrays = x if isinstance(x, Mapping) else {"": x}
        rows, step = len(next(iter(arrays.values()))), self._chunk
        chunks = [
            self.predictor.predict({name: a[i : i + step] for name, a in arrays.items()})
            for i in range(0, rows, step)
        ]
        return np.concatenate(chunks)

    def _table(
        self,
        outputs: np.ndarray,
        source: str | list[str],
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

    def _keys_of(self, table: pa.Table, *, text: bool) -> pa.Table:
        """Return the key columns, in types that are the same for all blocks of a file."""
        keys = table.select(list(self.keys))
        if not text:
            return keys
        kinds = {column.name: type(column) for column in self.contract.columns}
        for index, name in enumerate(keys.column_names):
            if kinds.get(name) is NumericColumn:
                column = pa.array(values.numbers(keys.column(index))[0], from_pandas=True)
            else:
                column = keys.column(index).cast(pa.string())
            keys = keys.set_column(index, name, column)
        return keys

    @property
    def _row_bytes(self) -> int:
        shapes = [shape for shape, _ in self.contract.inputs().values()]
        return max(1, 4 * sum(int(np.prod(shape)) for shape in shapes))

    @property
    def _chunk(self) -> int:
        return max(1, min(CHUNK_ROWS, _CHUNK_BYTES // self._row_bytes))


_NOT_FINITE = "the model's output is not a finite number"


def _finite(outputs: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(outputs).all(axis=1))


def _bad_rows(source: str, block: Block, checked: Checked) -> list[Bad]:
    if not checked.reasons:
        return []
    indices, reasons = zip(*checked.reasons, strict=True)
    raw = block.table.take(pa.array(indices)).to_pylist()
    return [
        Bad(source, int(block.rows[index]), reason, as_json(row))
        for index, reason, row in zip(indices, reasons, raw, strict=True)
    ]
