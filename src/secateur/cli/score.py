"""`secateur score`: any amount of raw data through an artifact, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import TaskID

from secateur.cli import out as sink
from secateur.cli.exits import UNUSABLE
from secateur.cli.trusted import Identity, PassphraseFile, Roots, SignedBy, secret, signer
from secateur.errors import SecateurError

if TYPE_CHECKING:
    from secateur.data.databases import Query
    from secateur.scoring.tally import Tally


class Packing(StrEnum):
    """The compressions of Parquet files."""

    snappy = "snappy"
    zstd = "zstd"
    lz4 = "lz4"
    gzip = "gzip"
    none = "none"


def score(
    artifact: Annotated[Path, typer.Argument(help="The exported model.", metavar="ARTIFACT")],
    data: Annotated[
        str,
        typer.Argument(
            help="A CSV, Parquet or Arrow file, a folder of such files, of images or of tar shards "
            "of images, or a glob; here or in a store (s3://bucket/data).",
            metavar="DATA",
        ),
    ],
    out: Annotated[str, typer.Argument(help="The folder for the scores.", metavar="SCORED")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A column to carry over to the scores. Repeatable."),
    ] = None,
    no_keys: Annotated[
        bool,
        typer.Option("--no-keys", help="Carry nothing over, not even the training data's keys."),
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to use; all by default.")
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option("--batch-rows", min=1, help="Rows that are read at a time.")
    ] = None,
    max_bad: Annotated[
        str | None,
        typer.Option(
            "--max-bad",
            help="Leave with exit code 3 where more rows than this are bad: 1% or 0.01.",
            metavar="SHARE",
        ),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            help="onnxruntime, openvino, litert, or auto: the fastest one, measured.",
        ),
    ] = "onnxruntime",
    all_probabilities: Annotated[
        bool, typer.Option("--all-probabilities", help="Write the probability of every class.")
    ] = False,
    query: Annotated[
        str | None,
        typer.Option(
            "--query", help="A SELECT; DATA is then a database: duckdb:///file.db or postgresql://."
        ),
    ] = None,
    order_by: Annotated[
        str | None,
        typer.Option("--order-by", help="The column that numbers the rows of --query."),
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Write all columns of the data beside the scores.")
    ] = False,
    compression: Annotated[
        Packing, typer.Option("--compression", help="How the Parquet files are compressed.")
    ] = Packing.snappy,
    engine: Annotated[
        str, typer.Option("--engine", help="Where the work is done: local or ray.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            "--address", help="The Ray cluster: host:port, or auto for the one of this machine."
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option("--memory", min=1, help="MiB that Ray reserves for a part.", metavar="MIB"),
    ] = None,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
    signed_by: SignedBy = None,
    certificates: Roots = None,
    json: Annotated[bool, typer.Option("--json", help="Print the tally as JSON.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Count the parts and try the first rows; write nothing."),
    ] = False,
) -> None:
    """Score raw data into Parquet files; bad rows go to SCORED/quarantine with their reason.

    A job that was stopped goes on where it stood when the same command is given again.
    """
    from secateur.formats.artifact import Artifact
    from secateur.scoring.score import score as score_data

    opened = Artifact.open(
        artifact,
        secret=secret(identity, passphrase_file, artifact),
        signed_by=signer(signed_by, certificates),
    )
    if order_by is not None and query is None:
        raise SecateurError("--order-by is of a query, and there is none.", mend="Give --query.")
    source = data if query is None else _query(data, query, order_by)
    asked = {
        "keys": kept_keys(key, no_keys=no_keys),
        "probability": "all" if all_probabilities else True,
        "columns": "all" if append else "keys",
        "runtime": runtime,
        "batch_rows": batch_rows,
        "max_bad": None if max_bad is None else share(max_bad),
        "compression": compression.value,
        "engine": engine,
        "address": address,
        "memory": None if memory is None else memory * 2**20,
    }
    if dry_run:
        from secateur.cli.rehearsal import rehearse_scoring

        rehearse_scoring(opened, source, out, json=json, **asked)
        return
    columns = (
        "{task.description}",
        "{task.fields[rows]:,} rows",
        "{task.fields[parts]} of {task.fields[all]} parts",
        "{task.fields[speed]:,.0f} rows/s",
        "{task.fields[left]}",
    )
    with sink.counting(*columns) as progress:
        task = progress.add_task("scoring", rows=0, parts=0, all=0, speed=0.0, left="", total=None)
        try:
            tally = score_data(
                opened,
                source,
                out,
                threads=threads,
                progress=_Meter(progress, task),
                **asked,  # type: ignore[arg-type]
            )
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("Give the same command again to go on from here.")
            raise
    if json:
        sink.as_json(tally.model_dump(mode="json"))
    else:
        _show(tally, out)
    if not tally.scored and (tally.quarantined or tally.unread):
        sink.fail("nothing of the data could be scored", f"See {Path(out, 'quarantine')} for why.")
        raise typer.Exit(UNUSABLE)


def _show(tally: Tally, out: str) -> None:
    if tally.tried:
        sink.table(
            "measured on the first rows",
            ("runtime", "rows a call", "threads", "rows/s"),
            [
                (trial.runtime, f"{trial.chunk:,}", trial.threads, f"{trial.rows_per_second:,.0f}")
                for trial in tally.tried
            ],
        )
    sink.result(
        f"{tally.runtime}, {tally.chunk:,} rows a call, "
        f"{tally.threads} thread{'' if tally.threads == 1 else 's'}"
    )
    sink.result(tally.summary())
    sink.passed_over(tally.passed_over)
    if tally.quarantined or tally.unread:
        sink.result(f"reasons: {Path(out, 'quarantine')}")


def _query(uri: str, sql: str, order_by: str | None) -> Query:
    from secateur.data.databases import Query

    if order_by is None:
        raise SecateurError(
            "the rows of a query come in no order.",
            where="--query",
            mend="Name a column whose values are all different with --order-by.",
        )
    return Query(uri, sql, order_by)


class _Meter:
    """Turns counts into a line with speed and time left, of what was done since the start alone."""

    def __init__(self, progress: object, task: TaskID):
        import time

        from secateur.cli.left import TimeLeft

        self._clock = time.perf_counter
        self._progress = progress
        self._task = task
        self._start: float | None = None
        self._first = 0
        self._left = TimeLeft()

    def __call__(self, rows: int, parts: int, all_parts: int) -> None:
        if self._start is None:
            self._start, self._first = self._clock(), rows
        seconds = self._clock() - self._start
        speed = (rows - self._first) / seconds if seconds > 0 else 0.0
        update = self._progress.update  # type: ignore[attr-defined]
        left = self._left.told(parts, all_parts)
        update(self._task, rows=rows, parts=parts, all=all_parts, speed=speed, left=left)


def kept_keys(keys: list[str] | None, *, no_keys: bool) -> Sequence[str] | None:
    """Return the columns to carry over; None for those of the contract."""
    if no_keys and keys:
        raise SecateurError("--key and --no-keys contradict each other.", mend="Leave one out.")
    return () if no_keys else keys or None


def share(text: str) -> float:
    """Read "1%" or "0.01"."""
    try:
        found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise SecateurError(
            f"{text!r} is not a share of the rows.", where="--max-bad", mend="Write 1% or 0.01."
        )
    return found
