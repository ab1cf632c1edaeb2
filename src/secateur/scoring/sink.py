"""A file of scores appears whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from secateur.data.values import is_text
from secateur.errors import DataError, OutputError
from secateur.files import PARTIAL, sync

# Errors of the path, not of the disk below it.
_NO_PLACE = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
Compression = Literal["snappy", "zstd", "lz4", "gzip", "none"]


def _encoding(table: pa.Table) -> dict[str, Any]:
    """Return how to write each column: positions as steps, and a dictionary only for words.

    A dictionary of numbers that are all different costs time and makes the file larger.
    """
    kinds = dict(zip(table.column_names, table.schema.types, strict=True))
    steps = [name for name, kind in kinds.items() if kind == pa.int64()]
    words = [n for n, kind in kinds.items() if pa.types.is_dictionary(kind) or is_text(kind)]
    return {
        "use_dictionary": words or False,
        "write_page_checksum": True,
        "column_encoding": dict.fromkeys(steps, "DELTA_BINARY_PACKED") or None,
    }


class Sink:
    """A Parquet file that is written under another name, and renamed when the block ends well.

    Where nothing is written, no file is made. Memory does not grow with what is written.
    """

    def __init__(self, path: Path, compression: Compression = "snappy"):
        self.path = path
        self.compression: Compression = compression
        self.rows = 0
        self.bytes = 0
        self._partial = path.with_name(path.name + PARTIAL)
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows; the first table decides on the columns."""
        if not table.num_rows:
            return
        with _told(self.path):
            if self._writer is None:
                self.path.parent.mkdir(exist_ok=True)
                demand_writable(table.schema)
                self._writer = pq.ParquetWriter(
                    self._partial, table.schema, compression=self.compression, **_encoding(table)
                )
            self._writer.write_table(table)
        self.rows += table.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is None:
            return
        try:
            if error is None:
                with _told(self.path):
                    self._writer.close()
                    sync(self._partial)
                    self.bytes = self._partial.stat().st_size
                    os.replace(self._partial, self.path)
                    sync(self.path.parent)
        finally:
            # On a full disk closing fails too, and is then of no interest.
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
            self._partial.unlink(missing_ok=True)


def demand_writable(schema: pa.Schema) -> None:
    """Refuse columns of a type that Parquet has not.

    Raises:
        OutputError: there is one, which can only be a column that is carried over.
    """
    for field in schema:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowException as error:
            raise OutputError(
                f"the column {field.name!r} is of the type {field.type}, which a Parquet file "
                "cannot hold.",
                mend="Do not carry it over, or cast it in the data.",
            ) from error


def cannot_write(path: Path, error: BaseException) -> OutputError:
    """Return the error that says why a file cannot be written."""
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0].rstrip(".")
    return OutputError(
        f"the scores cannot be written ({reason}).",
        where=path,
        mend=_mend(getattr(error, "errno", None)),
    )


def _mend(code: int | None) -> str:
    """Return what to do about an error of the system; without a number it is of the disk."""
    again = "start the same job again: it goes on where it stopped."
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"Name a folder that can be written, or give yourself the right to it and {again}"
    if code in _NO_PLACE:
        return f"Name a folder that can be made, or bring back what was moved away and {again}"
    if code in (None, errno.ENOSPC, errno.EDQUOT):
        return f"Make room on the disk and {again}"
    return f"Check the disk and {again}"


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
    except pa.ArrowException as error:
        # Scores can always be written, so it is a value that is carried over.
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(
            f"a value that is carried over cannot be written ({reason}).",
            mend="Do not carry its column over, or cast it in the data.",
        ) from error
