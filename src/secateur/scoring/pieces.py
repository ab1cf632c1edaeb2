"""A source is cut into pieces, and a piece is what is done, or done again, as a whole.

A piece is a file, a chunk of image files, or some row groups of a Parquet file that is too large to
be lost when a job is killed and too large for one core. The cut depends on the data alone, so that
a job that resumes finds the same pieces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data import values
from secateur.data.contract import Contract
from secateur.data.places import Place, failure, open_file
from secateur.data.sources import BadRow, Block, Part, stream
from secateur.errors import StoreError
from secateur.scoring.answers import raw_rows

PIECE_ROWS = 2**18

_END_BYTES = 64 * 1024


@dataclass(frozen=True)
class Piece:
    """Some rows of a part.

    Attributes:
        part: the file or chunk of files it belongs to.
        first: the position of its first row in the part.
        rows: how many rows it has, where that is known without reading it.
        groups: the row groups of a Parquet file; None for the whole part.
    """

    part: Part
    first: int
    rows: int | None
    groups: tuple[int, ...] | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from all other pieces of the source."""
        return self.part.path, self.first

    @property
    def stamp(self) -> str:
        """A short hash that changes with the files: names, sizes, cut, and a table's both ends.

        A Parquet file that is written anew has another footer, whatever its size.
        """
        what = (self.part.kind, self.part.bytes, self.part.files, self.rows, self.groups)
        if self.part.range is not None:
            ends = self.part.range.stamp.encode()
        else:
            ends = b"" if self.part.files else _ends(self.part.file)
        return hashlib.sha256(repr(what).encode() + ends).hexdigest()[:16]


def cut(parts: Iterable[Part], *, rows: int = PIECE_ROWS) -> list[Piece]:
    """Cut parts into pieces of whole row groups, of about `rows` rows where they are large."""
    return [piece for part in parts for piece in _pieces_of(part, rows)]


def read(
    piece: Piece, columns: Sequence[str], contract: Contract, *, batch_rows: int
) -> Iterator[Block]:
    """Stream the rows of a piece that is a table, in blocks whose `rows` are positions in the file.

    Raises:
        DataError: the piece cannot be read.
        ContractError: a column is not in the file.
    """
    blocks = stream(
        piece.part,
        columns,
        contract=contract,
        batch_rows=batch_rows,
        groups=piece.groups,
        first=piece.first,
    )
    yield from map(sifted, blocks)


def sifted(block: Block) -> Block:
    """Return a block whose rows with text that is no UTF-8 are among its bad rows."""
    table, broken = block.table, {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        mask = values.not_utf8(column)
        for row in [] if mask is None else np.flatnonzero(mask).tolist():
            broken.setdefault(row, f"column {name}: {values.shown(column, row)} is not UTF-8")
    if not broken:
        return block
    rows = np.array(sorted(broken))
    raw = raw_rows(table.take(pa.array(rows)))
    bad = [
        BadRow(int(block.rows[row]), broken[int(row)], text)
        for row, text in zip(rows, raw, strict=True)
    ]
    keep = np.delete(np.arange(table.num_rows), rows)
    return Block(table.take(pa.array(keep)), block.rows[keep], (*block.bad, *bad))


def _ends(path: Path | Place) -> bytes:
    """Return the first and the last bytes of a file; nothing where it cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(_END_BYTES)
            file.seek(max(file.size() - _END_BYTES, 0))
            return head + file.read(_END_BYTES)
    except OSError as error:
        unread = failure("the file cannot be read", path, error)
        if isinstance(unread, StoreError):
            raise unread from error
        return b""


def _pieces_of(part: Part, rows: int) -> Iterator[Piece]:
    if part.kind != "parquet" or part.rows is None or part.rows <= rows:
        yield Piece(part, 0, part.rows)
        return
    with open_file(part.file) as source:
        metadata = pq.read_metadata(source)
    first, count, groups = 0, 0, []
    for group in range(metadata.num_row_groups):
        groups.append(group)
        count += metadata.row_group(group).num_rows
        if count >= rows or group == metadata.num_row_groups - 1:
            yield Piece(part, first, count, tuple(groups))
            first, count, groups = first + count, 0, []
