"""A job goes on where it stopped, whatever stopped it, and never mixes with another."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from secateur.errors import (
    OutputError,
    SecateurError,
    TooManyBadRowsError,
)
from secateur.scoring import score as score_module
from secateur.scoring.rehearsal import rehearse
from secateur.scoring.score import score
from secateur.scoring.scorer import Scorer
from unit.scoring.artifacts import (
    as_table,
    assert_scores_of,
    numbers,
    scores,
    write_artifact,
    write_parquet_files,
)


def test_second_run_does_nothing_again(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    first = score(artifact, tmp_path / "data", tmp_path / "out")
    times = {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("part-*")}
    second = score(artifact, tmp_path / "data", tmp_path / "out")
    assert {f.name: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("part-*")} == times
    assert (second.resumed, second.rows, second.scored) == (2, first.rows, first.scored)
    assert second.rows_per_second == 0


def test_part_that_is_lost_is_done_again(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [30, 40, 50])
    score(artifact, tmp_path / "data", tmp_path / "out")
    (tmp_path / "out" / "part-00001.parquet").unlink()
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.resumed, tally.parts, tally.rows) == (2, 3, 120)
    assert_scores_of(tmp_path / "out", x)


def test_file_that_is_added_is_scored(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    pq.write_table(as_table(numbers(5)), tmp_path / "data" / "before.parquet")
    pq.write_table(as_table(numbers(6)), tmp_path / "data" / "a-first.parquet")
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert (tally.parts, tally.resumed, tally.rows) == (4, 2, 81)
    assert scores(tmp_path / "out").num_rows == 81


def test_file_that_changed_or_is_gone(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    pq.write_table(as_table(numbers(31)), tmp_path / "data" / "data-000.parquet")
    with pytest.raises(
        OutputError, match=r"data-000\.parquet was scored, and has changed"
    ) as caught:
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert caught.value.where == str(tmp_path / "out")
    (tmp_path / "data" / "data-000.parquet").unlink()
    with pytest.raises(OutputError, match=r"data-000\.parquet was scored"):
        score(artifact, tmp_path / "data", tmp_path / "out")


def test_other_model_is_refused(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30])
    score(artifact, tmp_path / "data", tmp_path / "out")
    other = write_artifact(tmp_path / "other", artifact.contract, seed=1)
    with pytest.raises(OutputError, match="another job: its model is"):
        score(other, tmp_path / "data", tmp_path / "out")


def test_a_rehearsal_refuses_what_the_job_would(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [30, 40])
    score(artifact, tmp_path / "data", tmp_path / "out")
    assert rehearse(artifact, tmp_path / "data", tmp_path / "out").done == 2
    assert rehearse(artifact, tmp_path / "data", tmp_path / "out", runtime="auto").done == 2
    (tmp_path / "out" / "part-00001.parquet").unlink()
    assert rehearse(artifact, tmp_path / "data", tmp_path / "out").done == 1
    write_parquet_files(tmp_path / "other", [30])
    for source, asked, name in (
        ("other", {}, "source"),
        ("data", {"probability": False}, "probability"),
        ("data", {"runtime": "openvino"}, "runtime"),
        ("data", {"compression": "zstd"}, "compression"),
    ):
        for do in (rehearse, score):
            with pytest.raises(OutputError, match=f"another job: its {name} is"):
                do(artifact, tmp_path / source, tmp_path / "out", **asked)


def test_too_many_bad_rows_can_go_on(artifact, tmp_path):
    x = numbers(100)
    x[:11, 0] = np.nan
    (tmp_path / "data").mkdir()
    pq.write_table(as_table(x), tmp_path / "data" / "a.parquet")
    with pytest.raises(
        TooManyBadRowsError, match=r"11 of 100 rows are bad; at most 10\.00%"
    ) as bad:
        score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.1)
    assert bad.value.where == str(tmp_path / "out" / "quarantine")
    assert bad.value.exit_code == 3
    assert not (tmp_path / "out" / "tally.json").exists()
    tally = score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.11)
    assert (tally.resumed, tally.quarantined) == (1, 11)


def test_files_that_nobody_could_count_are_too_many(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [10, 10])
    (tmp_path / "data" / "data-001.parquet").write_bytes(b"no parquet")
    with pytest.raises(TooManyBadRowsError, match="1 of 2 parts could not be read"):
        score(artifact, tmp_path / "data", tmp_path / "out", max_bad=0.4)


def test_progress(artifact, tmp_path):
    write_parquet_files(tmp_path / "data", [300, 400, 500])
    heard = []
    score(artifact, tmp_path / "data", tmp_path / "out", progress=lambda *now: heard.append(now))
    assert heard[0] == (0, 0, 3)
    assert heard[-1] == (1200, 3, 3)
    assert heard == sorted(heard)


def test_progress_that_fails_ends_the_job_and_loses_nothing(artifact, tmp_path):
    x = write_parquet_files(tmp_path / "data", [50] * 20)

    def interrupt(rows, parts, total):
        if parts >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(artifact, tmp_path / "data", tmp_path / "out", threads=1, progress=interrupt)
    assert not list((tmp_path / "out").glob("*.partial"))
    tally = score(artifact, tmp_path / "data", tmp_path / "out")
    assert tally.resumed >= 3
    assert_scores_of(tmp_path / "out", x)


def test_disk_that_fills_up(artifact, tmp_path, monkeypatch):
    x = write_parquet_files(tmp_path / "data", [50] * 6)
    real, calls = pq.ParquetWriter.write_table, []

    def full(self, *arguments, **options):
        calls.append(1)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device"):
        score(artifact, tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.partial"))
    monkeypatch.undo()
    score(artifact, tmp_path / "data", tmp_path / "out")
    assert_scores_of(tmp_path / "out", x)


@pytest.mark.parametrize("moment", [1, 3])
def test_file_that_changes_while_it_is_scored(artifact, tmp_path, monkeypatch, moment):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    x = numbers(40)
    pq.write_table(as_table(x), data / "a.parquet", row_group_size=10)
    monkeypatch.setattr(score_module, "cut", partial(score_module.cut, rows=10))
    plain, seen = Scorer.score, []

    def changing(self, piece, block):
        seen.append(plain(self, piece, block))
        if len(seen) == moment:
            pq.write_table(as_table(x, first_id=100), tmp_path / "new", row_group_size=5)
            (tmp_path / "new").rename(data / "a.parquet")
        return seen[-1]

    monkeypatch.setattr(Scorer, "score", changing)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"a\.parquet was scored, and has changed"):
            score(artifact, data, out, threads=1)
    assert not (out / "tally.json").exists()


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"engine": "abacus"}, "no engine"),
        ({"address": "auto"}, "local engine has none"),
        ({"batch_rows": 0}, "`batch_rows` is 0"),
        ({"max_bad": 2}, "`max_bad` is 2"),
        ({"compression": "rar"}, "no compression"),
        ({"probability": "yes"}, "`probability` is 'yes'"),
    ],
)
def test_options_that_mean_nothing_are_refused_in_the_rehearsal_too(
    artifact, tmp_path, asked, match
):
    write_parquet_files(tmp_path / "data", [3])
    for do in (rehearse, score):
        with pytest.raises(SecateurError, match=match):
            do(artifact, tmp_path / "data", tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()
