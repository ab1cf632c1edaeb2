"""Scores of a stream of batches: a row out for each row in."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from secateur.data.contract import Target
from secateur.errors import ArtifactError, ContractError
from secateur.scoring.arrow import scored
from secateur.scoring.score import score
from unit.scoring.artifacts import (
    as_table,
    expected,
    image_contract,
    numbers,
    scores,
    table_contract,
    write_artifact,
    write_parquet_files,
)


def batches(x, size):
    return as_table(x).to_batches(max_chunksize=size)


def test_every_row_has_its_score_in_order(artifact):
    x = numbers(70_000)
    found = pa.Table.from_batches(scored(batches(x, 40_000), artifact.path))
    assert found.column_names == ["id", "prediction", "probability", "reason"]
    assert [str(kind) for kind in found.schema.types] == ["int64", "string", "float", "string"]
    classes, probabilities = expected(x)
    np.testing.assert_array_equal(found["id"].to_numpy(), np.arange(70_000))
    np.testing.assert_array_equal(found["prediction"].to_pylist(), classes)
    np.testing.assert_allclose(found["probability"].to_numpy(), probabilities, rtol=1e-5)
    assert found["reason"].null_count == 70_000


def test_scores_are_those_of_files(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [500])
    score(artifact, tmp_path / "data", tmp_path / "out")
    found = pa.Table.from_batches(scored(batches(x, 500), artifact))
    of_files = scores(tmp_path / "out")
    assert found["probability"].equals(of_files["probability"])
    assert found["prediction"].to_pylist() == of_files["prediction"].to_pylist()


def test_bad_rows_stay_with_their_reason(artifact):
    x = numbers(10)
    x[[0, 4], 1] = np.nan
    (found,) = scored(batches(x, 10), artifact)
    assert found["prediction"].is_null().to_pylist() == [i in (0, 4) for i in range(10)]
    assert found["probability"].is_null().to_pylist() == [i in (0, 4) for i in range(10)]
    assert [i for i, reason in enumerate(found["reason"].to_pylist()) if reason] == [0, 4]
    good = [i for i in range(10) if i not in (0, 4)]
    np.testing.assert_array_equal(found["prediction"].take(good).to_pylist(), expected(x)[0][good])


def test_batch_of_nothing_but_bad_rows(artifact):
    x = numbers(3)
    x[:] = np.nan
    (found,) = scored(batches(x, 3), artifact, keys=[], probability=False)
    assert found.schema.names == ["prediction", "reason"]
    assert found["prediction"].null_count == 3
    assert found["reason"].null_count == 0


def test_regression(tmp_path):
    artifact = write_artifact(tmp_path / "artifact", table_contract(target=Target(name="y")))
    (found,) = scored(batches(numbers(5), 5), artifact, keys=["id"])
    assert found.schema.names == ["id", "prediction", "reason"]
    assert found["prediction"].type == pa.float32()
    assert found["prediction"].null_count == 0


def test_stream_of_nothing(artifact):
    assert list(scored([], artifact)) == []


def test_missing_column_and_other_models(artifact, tmp_path):
    with pytest.raises(ContractError, match="f3"):
        next(scored([batches(numbers(5), 5)[0].drop_columns(["f3"])], artifact))
    photos = write_artifact(tmp_path / "photos", image_contract())
    with pytest.raises(ArtifactError, match="not a model of tables"):
        next(scored(batches(numbers(5), 5), photos))


def test_what_would_hide_an_answer_is_refused(artifact):
    with pytest.raises(ContractError, match="'reason'"):
        next(scored(batches(numbers(3), 3), artifact, keys=["reason"]))
    with pytest.raises(ContractError, match="'row'"):
        next(scored(batches(numbers(3), 3), artifact, keys=["row"]))


def test_features_are_no_predictions(artifact):
    told = replace(artifact, manifest=artifact.manifest.model_copy(update={"output": "features"}))
    with pytest.raises(ArtifactError, match="no predictions"):
        next(scored(batches(numbers(3), 3), told))


def test_text_that_is_no_utf8_is_a_reason(artifact):
    table = as_table(numbers(3)).to_batches()[0]
    odd = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    batch = pa.RecordBatch.from_arrays([odd, *table.columns[1:]], names=table.schema.names)
    found = pa.Table.from_batches(scored([batch], artifact.path, keys=["id"]))
    assert [why is None for why in found["reason"].to_pylist()] == [True, False, True]
    assert found["prediction"].null_count == 1


def test_a_column_that_is_there_twice_is_refused(artifact):
    table = as_table(numbers(3)).to_batches()[0]
    batch = pa.RecordBatch.from_arrays(
        [*table.columns, table.column(1)], names=[*table.schema.names, "f0"]
    )
    with pytest.raises(ContractError, match="more than one column 'f0'"):
        list(scored([batch], artifact.path))
