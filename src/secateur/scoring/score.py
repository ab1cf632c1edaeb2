"""Any amount of raw data through an artifact, every row accounted for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

from secateur.data.databases import Query
from secateur.data.places import REQUESTS
from secateur.data.sources import find_parts
from secateur.errors import (
    ArtifactError,
    OutputError,
    SecateurError,
    TooManyBadRowsError,
)
from secateur.files import write_whole
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.formats.runners import check_runtime
from secateur.machine import cores
from secateur.scoring.answers import Carry, Probability
from secateur.scoring.asked import (
    check_apart,
    check_carried,
    check_columns,
    check_engine,
    check_names,
    check_options,
    check_out,
    check_written,
    contract_of,
    job_of,
    named,
    passed_over,
)
from secateur.scoring.ledger import QUARANTINE, Entry, Ledger, job_in
from secateur.scoring.local import run_local
from secateur.scoring.on_ray import run_ray
from secateur.scoring.pieces import Piece, cut
from secateur.scoring.scorer import Scorer, usual_chunk
from secateur.scoring.sink import Compression
from secateur.scoring.tally import Tally
from secateur.scoring.tune import Setup, choose

TALLY = "tally.json"
Progress = Callable[[int, int, int], None]

# A share of fewer rows than this says nothing yet of the rows to come.
_SHARE_FROM = 10_000


def score(
    artifact: Artifact | str | Path,
    source: str | Path | Query,
    out: str | Path,
    *,
    keys: Sequence[str] | None = None,
    threads: int | None = None,
    batch_rows: int | None = None,
    max_bad: float | None = None,
    probability: Probability = True,
    columns: Carry = "keys",
    compression: Compression = "snappy",
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    memory: int | None = None,
    runtime: Literal["auto", "onnxruntime", "openvino", "litert"] = "onnxruntime",
    progress: Progress | None = None,
    resume: bool = True,
) -> Tally:
    """Score a file, a folder or a glob of raw data into a folder of Parquet files.

    `out` holds `part-*.parquet` (the key columns, `source`, `row`, `prediction` and, for a
    classification, `probability`), `quarantine/part-*.parquet` (`source`, `row`, `rows`, `reason`,
    and the `raw` row as JSON), `ledger.jsonl` and, at the end, `tally.json`. Memory does not grow
    with the data. A job that was stopped, in whatever way, goes on where it stood when it is
    started again. A file that cannot be read is quarantined as a whole, in one line whose `rows`
    says how many rows that are; the job goes on.

    `pandas.read_parquet(sorted(glob("out/part-*.parquet")))` reads all scores.

    Args:
        artifact: a model that was exported with a contract.
        source: raw data as the model's training data was, here or in a store ("s3://bucket/data"),
            or the rows of a database.
        out: a folder that is new, empty, or holds the same job.
        keys: columns to carry over to the scores; where None, those of the contract.
        threads: how many cores to use; where None, all, of this machine or of the cluster, or as
            many as pay with runtime "auto".
        batch_rows: how many rows are read at a time; where None, what fits.
        max_bad: the largest share of rows, 0 to 1, that may be bad; where None, any.
        probability: write the probability of the predicted class, of "all" classes, or none.
        columns: what to write beside the predictions: the "keys", or "all" columns of the data.
        compression: of the Parquet files: "snappy", "zstd", "lz4", "gzip" or "none".
        engine: where the work is done: on this machine, or on a Ray cluster whose nodes all see
            the data and `out` under the same paths. The scores are the same, byte for byte.
        address: the Ray cluster: `host:port`, or "auto" for the one that this machine belongs to;
            where None, the one that the variable `RAY_ADDRESS` names, else one that is started on
            this machine for this job.
        memory: the bytes of memory that Ray reserves for a part; where None, an estimate.
        runtime: what runs the model. "auto" measures, on the first rows, which of the installed
            runtimes, how many rows a call and how many threads are fastest. A job that goes on uses
            what it was begun with.
        progress: called now and then with the rows, the parts that are done, and all parts.
        resume: where False, refuse a folder that holds a job.

    Raises:
        ArtifactError: the artifact is not whole, or has no contract.
        DataError: there is no data, or none of it can be read.
        StoreError: a store or a database cannot be reached; what was done is kept.
        ContractError: no file has all the columns that are needed.
        OutputError: `out` holds something else or is in use, or the disk is full.
        MissingExtraError: the runtime is not installed.
        TooManyBadRowsError: more rows are bad than `max_bad` allows; what was done is kept.

    Example:
        >>> score("artifact", "data", "scores", keys=["id"]).summary()  # doctest: +SKIP
        '1,000,000 rows: 999,998 scored, 2 quarantined; 0.9 s, 1,111,111 rows/s'
    """
    began = time.perf_counter()
    usable = _threads(threads)
    check_options(batch_rows, max_bad)
    check_engine(engine, address, memory)
    check_written(columns, compression, probability)
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    contract = contract_of(artifact)
    if engine == "ray" and artifact.sealed:
        raise ArtifactError(
            "a sealed artifact is not sent to a cluster, where it would lie open.",
            where=artifact.path,
            mend="Use the local engine, or open it first: secateur open ARTIFACT FOLDER.",
        )
    keys = contract.keys if keys is None else named(keys)
    check_carried(keys, columns, contract)
    check_out(out)
    parts = find_parts(source, kind="image" if contract.kind == "image" else "table")
    check_names(parts)
    out = Path(out)
    check_apart(out, source, parts)
    if runtime != "auto":
        check_runtime(runtime)
    scorer = Scorer(
        Predictor(artifact),
        contract,
        keys,
        probability,
        batch_rows,
        carry=columns,
        compression=compression,
    )
    check_columns(parts, scorer)
    pieces = cut(parts)
    setup = _setup(scorer, pieces, out, runtime, threads, usable)
    scorer = _set_up(scorer, setup)
    job = job_of(scorer, parts, runtime=setup.runtime, chunk=setup.chunk)
    with Ledger(out, job, resume=resume) as ledger:
        todo = list(_to_do(pieces, ledger))
        resumed, before = len(ledger.entries), ledger.counts["rows"]

        def tick(rows: int) -> None:
            if progress is not None:
                progress(before + rows, len(ledger.entries), len(pieces))

        def done(entry: Entry) -> None:
            ledger.append(entry)
            _check_share(ledger, max_bad, len(pieces))

        _check_share(ledger, max_bad, len(pieces))
        tick(0)
        if engine == "ray":
            place = {"address": address, "threads": threads, "memory": memory}
            run_ray(scorer, out, todo, done=done, tick=tick, **place)
        else:
            run_local(scorer, out, todo, threads=setup.threads, done=done, tick=tick)
        if todo:
            _check_same(pieces, ledger)
        seconds = time.perf_counter() - began
        tally = Tally(
            parts=len(ledger.entries),
            resumed=resumed,
            rows=ledger.counts["rows"],
            scored=ledger.counts["scored"],
            quarantined=ledger.counts["quarantined"],
            unread=ledger.counts["unread"],
            bytes=sum(part.bytes for part in parts),
            seconds=round(seconds, 3),
            rows_per_second=round((ledger.counts["rows"] - before) / seconds, 1),
            runtime=setup.runtime,
            chunk=setup.chunk or usual_chunk(contract),
            threads=(threads or 0) if engine == "ray" else setup.threads,
            tried=setup.tried,
            passed_over=passed_over(source, parts),
        )
        write_whole(out / TALLY, tally.model_dump_json(indent=2) + "\n")
    return tally


def _setup(
    scorer: Scorer,
    pieces: Sequence[Piece],
    out: Path,
    runtime: str,
    threads: int | None,
    usable: int,
) -> Setup:
    """Return how to run the job: as asked, as it was begun, or as measured."""
    if runtime != "auto":
        return Setup(runtime, None, usable)
    begun = job_in(out)
    if begun is not None:
        return Setup(begun.runtime, begun.chunk, usable)
    return choose(scorer, pieces, threads=threads, cores=usable)


def _set_up(scorer: Scorer, setup: Setup) -> Scorer:
    if setup.runtime == "onnxruntime":
        return replace(scorer, chunk_rows=setup.chunk)
    chunk = setup.chunk or usual_chunk(scorer.contract)
    predictor = Predictor(scorer.predictor.artifact, runtime=setup.runtime, rows=chunk)
    return replace(scorer, predictor=predictor, chunk_rows=setup.chunk)


def _to_do(pieces: Sequence[Piece], ledger: Ledger) -> Iterator[tuple[int, Piece]]:
    """Yield the pieces that are not done, with numbers that no part has."""
    _check_same(pieces, ledger)
    taken = {entry.number for entry in ledger.entries.values()}
    free = (number for number in itertools.count() if number not in taken)
    left = (piece for piece in pieces if piece.key not in ledger.entries)
    yield from zip(free, left, strict=False)


def _check_same(pieces: Sequence[Piece], ledger: Ledger) -> None:
    """Raise where a piece that is done is not in the source as it was when it was read."""
    done = [piece for piece in pieces if piece.key in ledger.entries]
    with ThreadPoolExecutor(REQUESTS) as pool:
        here = dict(pool.map(lambda piece: (piece.key, piece.stamp), done))
    for key, entry in ledger.entries.items():
        if here.get(key) != entry.stamp:
            raise OutputError(
                f"{entry.source} was scored, and has changed or is gone since.",
                where=ledger.out,
                mend="Name another output folder, or bring the file back as it was.",
            )


def _check_share(ledger: Ledger, max_bad: float | None, pieces: int) -> None:
    """Raise where too many rows are bad: of all rows at the end, of many rows before."""
    if max_bad is None:
        return
    rows, bad = ledger.counts["rows"], ledger.counts["quarantined"]
    uncounted = ledger.counts["uncounted"]
    if len(ledger.entries) < pieces and rows < _SHARE_FROM:
        return
    if bad > max_bad * rows or uncounted > max_bad * pieces:
        also = f", and {uncounted} of {pieces} parts could not be read" if uncounted else ""
        raise TooManyBadRowsError(
            f"{bad:,} of {rows:,} rows are bad{also}; at most {max_bad:.2%} may be.",
            where=ledger.out / QUARANTINE,
            mend="Read the reasons there; a larger `max_bad` goes on from here.",
        )


def _threads(threads: int | None) -> int:
    if threads is None:
        return cores()
    if not isinstance(threads, int) or threads < 1:
        raise SecateurError(f"`threads` is {threads}.", mend="Give 1 or more.")
    return threads
