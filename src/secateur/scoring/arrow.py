"""Scores for batches that another system streams: Spark's `mapInArrow`, DuckDB, Flight, Polars.

Rows come out as they go in, all of them and in order; a bad row has a reason instead of a
prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from secateur.data.contract import Contract
from secateur.data.faults import missing_column
from secateur.data.plain import plain
from secateur.data.sources import Block, Part
from secateur.errors import ArtifactError, ContractError
from secateur.formats.artifact import Artifact
from secateur.formats.predictor import Predictor
from secateur.scoring.answers import PREDICTION, PROBABILITY, demand_free
from secateur.scoring.pieces import Piece, sifted
from secateur.scoring.scorer import BLOCK_ROWS, Scorer

REASON = "reason"


def scored(
    batches: Iterable[pa.RecordBatch],
    artifact: Artifact | str | Path,
    *,
    keys: Sequence[str] | None = None,
    probability: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Yield the scores of a stream of record batches, one row for each row.

    The columns are the keys, `prediction` (text, or float32 for a regression), `probability`
    (float32, of the predicted class; none for a regression), and `reason`: why a row has no
    prediction, null where it has one. Columns that are not needed are passed over.

    Args:
        batches: rows of a table with the columns of the artifact's contract.
        artifact: a model of tables or sequences that was exported with a contract, or its folder;
            it is opened when the first batch is asked for.
        keys: columns to carry over; where None, those of the contract.
        probability: whether there is a column `probability`.

    Raises:
        ArtifactError: the artifact is not whole, or not a model of tables or sequences.
        ContractError: a column is missing or there twice, or a key has the name of one of the
            answers.

    Example:
        >>> frame.mapInArrow(
        ...     lambda batches: scored(batches, "/shared/artifact", keys=["id"]),
        ...     "id long, prediction string, probability float, reason string",
        ... )  # doctest: +SKIP
    """
    opened = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
    contract = opened.contract
    if contract is None or contract.kind not in ("table", "sequence") or contract.target is None:
        raise ArtifactError(
            "the artifact is not a model of tables or sequences.", where=opened.path
        )
    if opened.manifest.output == "features":
        raise ArtifactError(
            "the artifact gives features, which are no predictions.",
            where=opened.path,
            mend="Use `score`, which writes them as the column `embedding`.",
        )
    keys = contract.keys if keys is None else tuple(keys)
    demand_free(keys, contract)
    if REASON in keys:
        raise ContractError(
            f"the column {REASON!r} has the name of a column of the answers.",
            mend="Rename it in the data, or do not carry it over.",
        )
    scorer = Scorer(Predictor(opened), contract, keys)
    for batch in batches:
        for name in scorer.columns:
            if name not in batch.schema.names:
                raise ContractError(missing_column(name, batch.schema.names))
            if batch.schema.names.count(name) > 1:
                raise ContractError(
                    f"there is more than one column {name!r}.", mend="Rename one of them."
                )
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            yield _answer(scorer, batch.slice(start, BLOCK_ROWS), probability)


def _answer(scorer: Scorer, batch: pa.RecordBatch, probability: bool) -> pa.RecordBatch:
    rows = batch.num_rows
    table = plain(pa.Table.from_batches([batch]).select(list(scorer.columns)))
    piece = Piece(Part("", "", "arrow", 0, rows), 0, rows)
    result = scorer.score(piece, sifted(Block(table, np.arange(rows), ())))
    names, types = _outputs(scorer.contract, probability)
    # The place of each row's score among the scores; a bad row has none.
    place = np.full(rows, -1)
    if result.scores is not None:
        place[result.scores["row"].to_numpy()] = np.arange(result.scores.num_rows)
    taken = pa.array(place, mask=place < 0)
    columns = [batch.column(name) for name in scorer.keys]
    for name, kind in zip(names, types, strict=True):
        if result.scores is None:
            columns.append(pa.nulls(rows, kind))
        else:
            values = result.scores[name].combine_chunks()
            columns.append(values.cast(kind).take(taken))
    reasons = np.full(rows, None)
    for bad in result.bad:
        reasons[bad.row] = bad.reason
    columns.append(pa.array(reasons, pa.string()))
    return pa.RecordBatch.from_arrays(columns, names=[*scorer.keys, *names, REASON])


def _outputs(contract: Contract, probability: bool) -> tuple[list[str], list[pa.DataType]]:
    if contract.task == "regression":
        return [PREDICTION], [pa.float32()]
    if probability:
        return [PREDICTION, PROBABILITY], [pa.string(), pa.float32()]
    return [PREDICTION], [pa.string()]
