"""Any amount of raw data through an artifact, every row accounted for."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from secateur.data.contract import Contract
from secateur.data.databases import Query
from secateur.data.encode import missing_column
from secateur.data.places import REQUESTS, Place, is_remote
from secateur.data.sources import Part, find_parts, names_of
from secateur.errors import (
    ArtifactError,
    ContractError,
    DataError,
    OutputError,
    SecateurError,
    TooManyBadRowsError,
)
from secateur.files import write_whole
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.formats.runners import check_runtime
from secateur.scoring.answers import Carry, Probability, demand_free
from secateur.scoring.ledger import QUARANTINE, Entry, Job, Ledger, job_in
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
    cores = _threads(threads)
    _check_options(batch_rows, max_bad)
    _check_engine(engine, address, memory)
    _check_written(columns, compression)
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    contract = _contract_of(artifact)
    keys = contract.keys if keys is None else tuple(keys)
    _check_carried(keys, columns, contract)
    _check_out(out)
    parts = find_parts(source, kind="image" if contract.kind == "image" else "table")
    out = Path(out)
    _check_apart(out, source, parts)
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
    _check_columns(parts, scorer, contract)
    pieces = cut(parts)
    setup = _setup(scorer, pieces, out, runtime, threads, cores)
    scorer = _set_up(scorer, setup)
    job = Job(
        model=artifact.model_sha256,
        contract=contract.fingerprint(),
        source=_address(parts[0]),
        keys=keys,
        probability=probability,
        columns=columns,
        runtime=setup.runtime,
        chunk=setup.chunk,
    )
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
            threads=setup.threads,
            tried=setup.tried,
        )
        write_whole(out / TALLY, tally.model_dump_json(indent=2) + "\n")
    return tally


def _setup(
    scorer: Scorer,
    pieces: Sequence[Piece],
    out: Path,
    runtime: str,
    threads: int | None,
    cores: int,
) -> Setup:
    """Return how to run the job: as asked, as it was begun, or as measured."""
    if runtime != "auto":
        return Setup(runtime, None, cores)
    begun = job_in(out)
    if begun is not None:
        return Setup(begun.runtime, begun.chunk, cores)
    return choose(scorer, pieces, threads=threads, cores=cores)


def _set_up(scorer: Scorer, setup: Setup) -> Scorer:
    if setup.runtime == "onnxruntime":
        return replace(scorer, chunk_rows=setup.chunk)
    chunk = setup.chunk or usual_chunk(scorer.contract)
    predictor = Predictor(scorer.predictor.artifact, runtime=setup.runtime, rows=chunk)
    return replace(scorer, predictor=predictor, chunk_rows=setup.chunk)


def _to_do(pieces: Sequence[Piece], ledger: Ledger) -> Iterator[tuple[int, Piece]]:
    """Yield the pieces that are not done, with numbers that no part has."""
    before = [piece for piece in pieces if piece.key in ledger.entries]
    with ThreadPoolExecutor(REQUESTS) as pool:
        here = dict(pool.map(lambda piece: (piece.key, piece.stamp), before))
    for key, entry in ledger.entries.items():
        if here.get(key) != entry.stamp:
            raise OutputError(
                f"{entry.source} was scored, and has changed or is gone since.",
                where=ledger.out,
                mend="Name another output folder, or bring the file back as it was.",
            )
    taken = {entry.number for entry in ledger.entries.values()}
    free = (number for number in itertools.count() if number not in taken)
    left = (piece for piece in pieces if piece.key not in ledger.entries)
    yield from zip(free, left, strict=False)


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


def _contract_of(artifact: Artifact) -> Contract:
    contract = artifact.contract
    if contract is None:
        raise ArtifactError(
            "the artifact has no contract, so raw data cannot be read for it.",
            where=artifact.path,
            mend="Export the model with `contract=`, or use Predictor on arrays.",
        )
    if contract.kind == "array":
        raise ArtifactError(
            "the model was trained on arrays, which no file of raw data holds.",
            where=artifact.path,
            mend="Use Predictor on arrays, or train on files.",
        )
    if contract.target is None:
        raise ArtifactError("the contract says nothing of a target.", where=artifact.path)
    return contract


def _check_engine(engine: str, address: str | None, memory: int | None) -> None:
    if engine not in ("local", "ray"):
        raise SecateurError(f"there is no engine {engine!r}.", mend="Use 'local' or 'ray'.")
    for name, value in (("address", address), ("memory", memory)):
        if value is not None and engine == "local":
            raise SecateurError(
                f"`{name}` is {value!r}, and the local engine has none.", mend="Use engine 'ray'."
            )
    if memory is not None and memory < 1:
        raise SecateurError(f"`memory` is {memory}.", mend="Give 1 byte or more.")


def _check_options(batch_rows: int | None, max_bad: float | None) -> None:
    if batch_rows is not None and batch_rows < 1:
        raise SecateurError(f"`batch_rows` is {batch_rows}.", mend="Give 1 or more.")
    if max_bad is not None and not 0 <= max_bad <= 1:
        raise SecateurError(f"`max_bad` is {max_bad}.", mend="Give a share from 0 to 1.")


def _threads(threads: int | None) -> int:
    if threads is None:
        return os.cpu_count() or 1
    if threads < 1:
        raise SecateurError(f"`threads` is {threads}.", mend="Give 1 or more.")
    return threads


def _check_written(columns: str, compression: str) -> None:
    if columns not in get_args(Carry):
        raise SecateurError(f"`columns` is {columns!r}.", mend="Give 'keys' or 'all'.")
    if compression not in get_args(Compression):
        known = ", ".join(get_args(Compression))
        raise SecateurError(f"there is no compression {compression!r}.", mend=f"Give {known}.")


def _check_carried(keys: tuple[str, ...], columns: Carry, contract: Contract) -> None:
    if (keys or columns == "all") and contract.kind == "image":
        raise ContractError(
            "images have no key columns, nor others, to carry over.",
            mend="The path of each is in the column `source`.",
        )
    demand_free(keys, contract)


def _check_out(out: str | Path) -> None:
    if is_remote(out):
        raise OutputError(
            "scores are written to a disk, not to a store.",
            where=out,
            mend="Name a folder here, and copy it when the job is done.",
        )


def _check_apart(out: Path, source: str | Path | Query, parts: Sequence[Part]) -> None:
    """Raise where the scores would be found as data when the job is started again."""
    root = parts[0].home
    if isinstance(root, Place):
        return
    deep = Path(str(source).removeprefix("file://")).is_dir() or "**" in str(source)
    if out.resolve() == root.resolve() or (deep and out.resolve().is_relative_to(root.resolve())):
        raise OutputError(
            "the output folder is inside the source.",
            where=out,
            mend="Name a folder outside it.",
        )


def _address(part: Part) -> str:
    """Return where the source is, in the same words each time."""
    home = part.home
    return str(home) if isinstance(home, Place) else str(home.resolve())


def _check_columns(parts: Sequence[Part], scorer: Scorer, contract: Contract) -> None:
    """Raise where no file can be read, or none has the columns: then the job itself is wrong."""
    if contract.kind == "image":
        return
    first: SecateurError | None = None
    for part in parts:
        try:
            names = names_of(part, contract=contract)
        except DataError as error:
            first = first or error
            continue
        if scorer.carry == "all":
            demand_free(names, contract, part.file)
        missing = [name for name in scorer.columns if name not in names]
        if not missing:
            return
        if first is None or not isinstance(first, ContractError):
            first = ContractError(missing_column(missing[0], names), where=part.file)
    if first is not None:
        raise first
