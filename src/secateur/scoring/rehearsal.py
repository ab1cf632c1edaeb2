"""What a scoring job would do: parts are counted, the first rows tried, and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from secateur.data.databases import Query
from secateur.data.sources import Part, find_parts
from secateur.errors import DataError, SecateurError
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.scoring.answers import Carry, Probability
from secateur.scoring.asked import (
    check_apart,
    check_carried,
    check_engine,
    check_names,
    check_options,
    check_out,
    check_written,
    contract_of,
    fault_of,
    job_of,
    named,
    passed_over,
)
from secateur.scoring.ledger import done_in, job_in
from secateur.scoring.pieces import Piece, cut
from secateur.scoring.scorer import Scorer, usual_chunk
from secateur.scoring.sink import Compression

ROWS = 1000


class ScoreRehearsal(BaseModel):
    """What there is to score, and what became of the first rows; nothing was written.

    Attributes:
        files: how many files of data there are.
        parts: into how many parts they are cut.
        done: how many of these were done before.
        rows: how many rows there are, where all files say that before they are read.
        bytes: the size of all files.
        sampled: how many rows were scored to see whether that works: the first ones.
        bad: how many of these would go to quarantine.
        reasons: why, with how many rows each.
        unusable: files that cannot be read or lack a column, with the reason.
        passed_over: the files of a folder that are no data, by their ending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: int
    parts: int
    done: int
    rows: int | None
    bytes: int
    sampled: int
    bad: int
    reasons: Mapping[str, int]
    unusable: Mapping[str, str]
    passed_over: Mapping[str, int] = {}


def rehearse(
    artifact: Artifact | str | Path,
    source: str | Path | Query,
    out: str | Path,
    *,
    keys: Sequence[str] | None = None,
    batch_rows: int | None = None,
    max_bad: float | None = None,
    probability: Probability = True,
    columns: Carry = "keys",
    compression: Compression = "snappy",
    engine: str = "local",
    address: str | None = None,
    memory: int | None = None,
    runtime: str = "onnxruntime",
    rows: int = ROWS,
) -> ScoreRehearsal:
    """Look at a scoring job before it is done: every file's columns, and some rows through all.

    Args:
        artifact: a model that was exported with a contract.
        source: raw data as `score` takes it.
        out: the folder that the scores would go to.
        keys: columns to carry over; where None, those of the contract.
        batch_rows: as `score` takes it, and only checked, as the four below.
        max_bad: the largest share of bad rows.
        engine: where the work is to be done.
        address: the Ray cluster.
        memory: the bytes that Ray is to reserve for a part.
        probability: what is to be written of the classes' probabilities.
        columns: what is to stand beside the predictions: the "keys", or "all" columns.
        compression: of the Parquet files.
        runtime: what is to run the model; "auto" measures nothing here.
        rows: how many rows, the first ones, are scored to see whether that works.

    Raises:
        ArtifactError: the artifact is not whole, or has no contract for raw data.
        DataError: there is no data, or none of it can be read.
        ContractError: no file has all the columns that are needed.
        OutputError: `out` holds something else than this job.
    """
    check_options(batch_rows, max_bad)
    check_engine(engine, address, memory)
    check_written(columns, compression, probability)
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    contract = contract_of(artifact)
    kept = contract.keys if keys is None else named(keys)
    check_carried(kept, columns, contract)
    check_out(out)
    parts = find_parts(source, kind="image" if contract.kind == "image" else "table")
    check_names(parts)
    check_apart(Path(out), source, parts)
    begun = job_in(Path(out)) if runtime == "auto" else None
    chunk = None if begun is None else begun.chunk
    if runtime == "auto":
        runtime = "onnxruntime" if begun is None else begun.runtime
    predictor = Predictor(artifact, runtime=runtime, rows=chunk or usual_chunk(contract))
    scorer = Scorer(predictor, contract, kept, probability, rows, columns, compression)
    done = done_in(Path(out), job_of(scorer, parts, runtime=runtime, chunk=chunk))
    faults = {} if contract.kind == "image" else _faults(parts, scorer)
    if len(faults) == len(parts):
        raise next(iter(faults.values()))
    pieces = cut(parts)
    here = {piece.key for piece in pieces}
    seen, reasons = _tried([piece for piece in pieces if piece.part.path not in faults], scorer)
    counts = [part.rows for part in parts]
    return ScoreRehearsal(
        files=sum(max(1, len(part.files)) for part in parts),
        parts=len(pieces),
        done=len(here & done),
        rows=None if None in counts else sum(count or 0 for count in counts),
        bytes=sum(part.bytes for part in parts),
        sampled=seen,
        bad=sum(reasons.values()),
        reasons=dict(reasons.most_common()),
        unusable={path: error.what for path, error in faults.items()},
        passed_over=passed_over(source, parts),
    )


def _faults(parts: Sequence[Part], scorer: Scorer) -> dict[str, SecateurError]:
    """Return what is wrong with files, by their paths."""
    found = {part.path: fault_of(part, scorer) for part in parts}
    return {path: error for path, error in found.items() if error is not None}


def _tried(pieces: Sequence[Piece], scorer: Scorer) -> tuple[int, Counter[str]]:
    """Score the first block there is, and say what was wrong with its rows."""
    for piece in pieces:
        try:
            for block in scorer.blocks(piece):
                scored = scorer.score(piece, block)
                return scored.rows, Counter(row.reason for row in scored.bad)
        except DataError as error:
            return 0, Counter({error.what: 1})
    return 0, Counter()
