"""`--dry-run`: everything is checked, nothing is written."""

from unit.cli.commands import RECIPE, is_told, one_line

STEPS = "steps: [{prune: {macs: 0.6, by: l2}}, {finetune: {epochs: 1}}]\n"


def files(folder):
    return sorted(folder.rglob("*"))


def test_a_run_tells_what_it_would_do(secateur, photos, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE + STEPS)
    before = files(tmp_path)
    code, told, _ = secateur("run", "recipe.yaml", "--dry-run")
    assert code == 0
    assert "units may go" in told
    assert "step 1     Prune(macs=0.6, by='l2')\n" in told
    assert "nothing was written" in told
    assert files(tmp_path) == before
    told = is_told("run --dry-run", *secateur("run", "recipe.yaml", "--dry-run", "--json"))
    assert sum(told["rows"].values()) == 32
    assert told["train"] is True
    assert len(told["steps"]) == 2
    assert 0 < told["prunable"] < told["units"]
    assert files(tmp_path) == before


def test_a_run_that_is_done_tells_its_parts(secateur, photos, model, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        RECIPE.replace("model: {width: 8}\ntrain: {epochs: 1}", "model: {load: model.keras}")
    )
    assert secateur("run", "recipe.yaml", "--out", "out", "--quiet")[0] == 0
    code, _, err = secateur("run", "recipe.yaml", "--out", "out", "--dry-run")
    assert code == 2
    assert "--resume" in one_line(err)
    words = ("run", "recipe.yaml", "--out", "out", "--resume", "--dry-run", "--json")
    told = is_told("run --dry-run", *secateur(*words))
    assert told["done"] == ["baseline"]
    assert told["train"] is False


def test_a_run_that_would_fail_says_so(secateur, photos, model, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("width: 8", "load: model.keras"))
    words = ("run", "recipe.yaml", "--set", "data.mode=RGB", "--dry-run")
    code, told, err = secateur(*words)
    assert (code, told) == (2, "")
    assert "the model takes samples of shape" in one_line(err)


def test_scoring_tells_what_there_is_and_tries_some_of_it(secateur, photos, model, tmp_path):
    assert secateur("export", model, "artifact", "--data", photos)[0] == 0
    (photos / "dark" / "0.png").write_bytes(b"no picture")
    before = files(tmp_path)
    code, told, _ = secateur("score", "artifact", photos, "scored", "--dry-run")
    assert code == 0
    assert "32 files" in told
    assert "1 x " in told
    words = ("score", "artifact", photos, "scored", "--dry-run", "--json")
    told = is_told("score --dry-run", *secateur(*words))
    assert (told["rows"], told["sampled"], told["bad"], told["done"]) == (32, 32, 1, 0)
    assert files(tmp_path) == before
    assert secateur("score", "artifact", photos, "scored")[0] == 0
    told = is_told("score --dry-run", *secateur(*words))
    assert told["done"] == told["parts"] == 1
    said = secateur("score", "artifact", photos, "scored", "--all-probabilities", "--dry-run")[2]
    assert 'its probability is true, and now it is "all"' in one_line(said)
    code, _, err = secateur("score", "artifact", photos, photos, "--dry-run")
    assert code == 2
    assert "inside the source" in one_line(err)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert "not a scoring job's" in one_line(secateur(*words[:3], "other", "--dry-run")[2])
    for more, said in (
        (("s3://bucket/scored",), "not to a store"),
        (("new", "--append"), "no key columns"),
        (("new", "--order-by", "id"), "Give --query"),
        (("new", "--runtime", "abacus"), "abacus"),
    ):
        code, _, err = secateur(*words[:3], *more, "--dry-run")
        assert code == 2
        assert said in one_line(err)


def test_files_that_lack_a_column_are_named(secateur, tmp_path):
    import numpy as np
    import pandas as pd

    from unit.scoring.artifacts import table_contract, write_artifact

    write_artifact(tmp_path / "artifact", table_contract())
    frame = pd.DataFrame(np.zeros((5, 4)), columns=[f"f{i}" for i in range(4)])
    (tmp_path / "data").mkdir()
    frame.to_parquet(tmp_path / "data" / "a.parquet")
    frame.drop(columns="f2").to_parquet(tmp_path / "data" / "b.parquet")
    (tmp_path / "data" / "c.parquet").write_bytes(b"PAR1 and no more")
    told = is_told(
        "score --dry-run", *secateur("score", "artifact", "data", "out", "--dry-run", "--json")
    )
    assert set(told["unusable"]) == {"b.parquet", "c.parquet"}
    assert "f2" in told["unusable"]["b.parquet"]
    assert told["sampled"] == 5
    (tmp_path / "data" / "a.parquet").unlink()
    assert secateur("score", "artifact", "data", "out", "--dry-run")[0] == 2
