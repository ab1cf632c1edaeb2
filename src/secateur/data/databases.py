"""Rows of a database, cut into ranges of a column that numbers them, read as Arrow through ADBC.

A range is a part of a job: it is read in the order of that column, and read again it is the same.

References:
    Arrow Database Connectivity, https://arrow.apache.org/adbc.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from secateur.data import addresses
from secateur.data.faults import missing_column
from secateur.data.plain import plain
from secateur.errors import ContractError, DataError, MissingExtraError, StoreError

RANGE_ROWS = 2**18


@dataclass(frozen=True)
class Query:
    """Rows of a database.

    Attributes:
        uri: "postgresql://host/database", or "duckdb:///file.db" ("duckdb:////folder/file.db" for a
            path from the root of the disk). A password is best left to the environment (PGPASSWORD)
            or to ~/.pgpass; it is never written down or shown.
        sql: one SELECT.
        order_by: a column of it whose values are all different and none missing, such as an id.
    """

    uri: str = field(repr=False)
    sql: str
    order_by: str

    def __str__(self) -> str:
        """Return the address without user, password and options."""
        return addresses.shown(self.uri)


@dataclass(frozen=True)
class Range:
    """The rows of a query from one value of its column to the next, which is not in it.

    Attributes:
        query: where the rows are.
        low: the first value, as text.
        high: the first value of the next range; None for the last.
        rows: how many rows there were when the ranges were made.
    """

    query: Query
    low: str
    high: str | None
    rows: int

    @property
    def stamp(self) -> str:
        """Text that changes with the query, the cut and the number of rows."""
        return repr((self.query.sql, self.query.order_by, self.low, self.high, self.rows))


def cut(query: Query, *, rows: int = RANGE_ROWS) -> list[Range]:
    """Cut a query into ranges of `rows` rows.

    Raises:
        StoreError: the database cannot be read.
        DataError: there is no row, or the column does not number the rows.
        MissingExtraError: the driver is not installed.
    """
    key, table = _name(query.order_by), _table(query)
    if query.order_by not in columns_of(query):
        message = missing_column(query.order_by, columns_of(query))
        raise ContractError(message, where=f"{query}, `order_by`")
    with _cursor(query) as cursor:
        cursor.execute(f"SELECT count(*), count({key}), count(DISTINCT {key}) FROM {table}")
        total, filled, different = cursor.fetchone()
        if not total:
            raise DataError("the query gives no row.", where=query)
        if different < total:
            raise DataError(
                f"the column {query.order_by!r} does not number the rows: of {total:,} values "
                f"{total - filled:,} are missing and {filled - different:,} repeat others.",
                where=query,
                mend="Order by a column whose values are all different, such as a primary key.",
            )
        cursor.execute(
            f"SELECT low FROM (SELECT CAST({key} AS VARCHAR) AS low, "
            f"row_number() OVER (ORDER BY {key}) AS number FROM {table}) AS numbered "
            f"WHERE (number - 1) % {rows} = 0 ORDER BY number"
        )
        lows = [low for (low,) in cursor.fetchall()]
    highs = [*lows[1:], None]
    counts = [rows] * (len(lows) - 1) + [total - rows * (len(lows) - 1)]
    return [Range(query, *one) for one in zip(lows, highs, counts, strict=True)]


def resolved(query: Query) -> Query:
    """Return a query of which a file is named from the root, for other processes to find."""
    file = addresses.file_of(query.uri)
    return query if file is None else replace(query, uri=f"duckdb:///{Path(file).resolve()}")


def columns_of(query: Query) -> list[str]:
    """Return the names of a query's columns.

    Raises:
        StoreError: the database cannot be read.
        DataError: two columns have one name.
    """
    with _cursor(query) as cursor:
        cursor.execute(f"SELECT * FROM {_table(query)} LIMIT 0")
        names = cursor.fetch_arrow_table().column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"two columns are named {twice!r}.", where=query)
    return names


def batches(
    part: Range, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a range in the order of its column.

    Raises:
        StoreError: the database cannot be read.
        DataError: the range has other rows than it had.
        ContractError: a column is not in the query.
    """
    query, key = part.query, _name(part.query.order_by)
    names = columns_of(query)
    for name in columns or ():
        if name not in names:
            raise ContractError(missing_column(name, names), where=query)
    wanted = ", ".join(map(_name, names if columns is None else columns)) or key
    limits = f"{key} >= {_text(part.low)}"
    if part.high is not None:
        limits += f" AND {key} < {_text(part.high)}"
    rows = 0
    with _cursor(query) as cursor:
        cursor.execute(f"SELECT {wanted} FROM {_table(query)} WHERE {limits} ORDER BY {key}")
        for batch in cursor.fetch_record_batch():
            rows += batch.num_rows
            for start in range(0, batch.num_rows, batch_rows):
                yield _stored(batch.slice(start, batch_rows))
    if rows != part.rows:
        raise DataError(
            f"the rows have changed since the job began: here were {part.rows:,}, now {rows:,}.",
            where=query,
        )


def _connect(query: Query) -> Any:
    addresses.demand_readable(query.uri)
    file = addresses.file_of(query.uri)
    try:
        from adbc_driver_manager import dbapi

        if file is None:
            import adbc_driver_postgresql.dbapi

            return adbc_driver_postgresql.dbapi.connect(query.uri)
        import adbc_driver_duckdb
    except ImportError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, which reads databases.",
            mend="Install the extra: pip install 'secateur[databases]'.",
        ) from error
    if not Path(file).is_file():
        # Not of the data: a job must not go on as if rows were bad, and another node may have it.
        raise StoreError("there is no such file.", where=file or query)
    return dbapi.connect(
        driver=adbc_driver_duckdb.driver_path(),
        entrypoint="duckdb_adbc_init",
        db_kwargs={"path": file, "access_mode": "READ_ONLY"},
    )


@contextmanager
def _cursor(query: Query) -> Iterator[Any]:
    try:
        with _told(query):
            connection = _connect(query)
    except StoreError as error:
        # Of an address the driver may quote anything, and so may the error that this one is of.
        what = addresses.without_secrets(error.what, query.uri)
        raise StoreError(what, where=error.where, mend=error.mend) from None
    with _told(query), connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def _told(query: Query) -> Iterator[None]:
    """Turn what the driver raises into one clear error."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(query, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "adbc_driver_manager":
            raise
        raise _unreadable(query, error) from error


def _unreadable(query: Query, error: Exception) -> StoreError:
    lines = str(error).strip().splitlines()
    what = lines[0].rstrip(".") if lines else type(error).__name__
    return StoreError(f"the database cannot be read: {what}.", where=query)


def _stored(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch in the types that files have, whose names alone are its schema."""
    columns = [_storage(column) for column in batch.columns]
    return plain(pa.RecordBatch.from_arrays(columns, names=batch.schema.names))


def _storage(column: pa.Array) -> pa.Array:
    kind = column.type
    if not isinstance(kind, pa.BaseExtensionType):
        return column
    if getattr(kind, "type_name", "") == "numeric":
        return column.storage.cast(pa.float64())
    if isinstance(kind, pa.UuidType):
        return pa.array([None if one is None else str(one) for one in column.to_pylist()], "string")
    return column.storage


def _table(query: Query) -> str:
    # On lines of its own, so that a comment at its end comments nothing else out.
    return f"(\n{query.sql.strip().rstrip(';')}\n) AS query"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
