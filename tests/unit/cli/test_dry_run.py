"""`--dry-run`: everything is checked, nothing is written."""

import os

import pytest

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


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.class_weights={brigt: 2}", "there is no class 'brigt'"),
        ("steps.finetune.class_weights={brigt: 2}", "finetune.class_weights"),
        ("steps.finetune.augment={swap: 0.1}", "`swap` is for table"),
    ],
)
def test_what_the_data_has_not_is_told_before_anything_is_made(
    secateur, photos, tmp_path, change, words, dry
):
    (tmp_path / "recipe.yaml").write_text(RECIPE + STEPS)
    before = files(tmp_path)
    code, _, err = secateur("run", "recipe.yaml", "--out", "made", "--set", change, *dry)
    assert code == 2
    assert words in one_line(err)
    assert files(tmp_path) == before


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


def test_a_run_whose_groups_or_folder_mean_nothing_says_so(secateur, photos, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = ("run", "recipe.yaml", "--dry-run", "--out")
    code, _, err = secateur(*words, "out", "--set", "measure.groups=['no(']")
    assert code == 2
    assert "no(" in one_line(err)
    (tmp_path / "file").touch()
    code, _, err = secateur(*words, "file/out")
    assert code == 2
    assert "this is a file" in one_line(err)


EXPLORE = (
    RECIPE
    + """\
steps:
  - prune: {macs: {low: 0.5, high: 0.9}, by: {any: [l2, l1]}, heal: false}
  - any: [none, {finetune: {epochs: 1}}]
explore: {trials: 3}
"""
)


def test_a_search_tells_what_it_would_choose_from(secateur, photos, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "recipe.yaml").write_text(EXPLORE)
    before = files(tmp_path)
    words = ("explore", "recipe.yaml", "--dry-run")
    code, told, _ = secateur(*words)
    assert code == 0
    assert "baseline   train\n" in told
    assert "step 1     prune (macs 0.5 to 0.9, by l2 or l1, heal False)\n" in told
    assert "step 2     none or finetune (epochs 1)\n" in told
    assert "choose     prune.macs, prune.by, step 2, by accuracy, macs" in told
    assert "try        3 trials\n" in told
    told = is_told("explore --dry-run", *secateur(*words, "--trials", "7", "--json"))
    assert (told["trials"], told["tried"], told["train"]) == (7, 0, True)
    by_name = {each["name"]: each for each in told["choices"]}
    assert (by_name["prune.macs"]["low"], by_name["prune.macs"]["high"]) == (0.5, 0.9)
    assert by_name["step 2"]["values"] == ["none", "finetune"]
    assert files(tmp_path) == before


def test_a_search_under_way_tells_what_it_has_tried(secateur, photos, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "recipe.yaml").write_text(EXPLORE)
    words = ("explore", "recipe.yaml", "--out", "out")
    assert secateur(*words, "--trials", "1", "--quiet")[0] == 0
    before = {each: each.read_bytes() for each in files(tmp_path) if each.is_file()}
    told = is_told("explore --dry-run", *secateur(*words, "--dry-run", "--json"))
    assert (told["trials"], told["tried"], told["train"]) == (3, 1, False)
    code, _, err = secateur(*words, "--dry-run", "--set", "explore.objectives=[macro_f1, macs]")
    assert code == 2
    assert f"out{os.sep}front.journal: the study was made for other objectives" in one_line(err)
    assert {each: each.read_bytes() for each in files(tmp_path) if each.is_file()} == before
    (photos / "dark" / "0.png").unlink()
    code, _, err = secateur(*words, "--dry-run")
    assert code == 2
    assert "the data has changed" in one_line(err)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("explore.objectives=[r2, macs]", "has no r2"),
        ("explore.objectives=[flops]", "no objective 'flops'"),
        ("data.source=nowhere", "nowhere"),
        ("steps=[{prune: {macs: 0.5}}]", "nothing to choose"),
    ],
)
def test_a_search_that_would_fail_says_so(secateur, photos, tmp_path, change, said):
    pytest.importorskip("optuna")
    (tmp_path / "recipe.yaml").write_text(EXPLORE)
    before = files(tmp_path)
    for more in ([], ["--dry-run"]):
        code, told, err = secateur("explore", "recipe.yaml", "--set", change, *more)
        assert (code, told) == (2, "")
        assert said in one_line(err)
        assert files(tmp_path) == before


COMPARE = (
    RECIPE
    + """\
compare:
  seeds: [0, 3]
  epochs: 4
  runtimes: [onnxruntime]
  contenders:
    taylor:
    rounds: [{prune: {macs: 0.6, by: l2, rounds: 3, epochs: 2}}, {finetune: {epochs: 1}}]
"""
)


def test_a_comparison_tells_what_would_run(secateur, photos, tmp_path):
    (tmp_path / "recipe.yaml").write_text(COMPARE)
    before = files(tmp_path)
    words = ("compare", "recipe.yaml", "--dry-run")
    code, told, _ = secateur(*words, "--jobs", "2")
    assert code == 0
    assert "2 contenders x 2 seeds (0, 3) = 4 runs, 2 at once, measured in onnxruntime" in told
    assert "baseline   train\n" in told
    assert "nothing was written" in told
    told = is_told("compare --dry-run", *secateur(*words, "--json"))
    taylor, rounds = told["contenders"]
    assert (taylor["name"], taylor["epochs"], taylor["done"]) == ("taylor", 4, [])
    assert taylor["steps"] == "prune (macs 0.5, by taylor), finetune (epochs 4)"
    assert (rounds["epochs"], told["seeds"]) == (5, [0, 3])
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("compare.contenders={nobody: null}", "nobody"),
        ("compare.contenders={mine: [{prune: {macs: 2}}]}", "macs"),
        ("data.source=nowhere", "nowhere"),
        ("data.mode=RGB", "takes samples of shape"),
    ],
)
def test_a_comparison_that_would_fail_says_so(secateur, photos, model, tmp_path, change, said):
    (tmp_path / "recipe.yaml").write_text(COMPARE.replace("width: 8", "load: model.keras"))
    before = files(tmp_path)
    code, told, err = secateur("compare", "recipe.yaml", "--set", change, "--dry-run")
    assert (code, told) == (2, "")
    assert said in one_line(err)
    assert files(tmp_path) == before


def test_a_comparison_needs_the_runtimes_that_it_names(secateur, photos, tmp_path, monkeypatch):
    from secateur.errors import MissingExtraError
    from secateur.job import compare

    def missing(runtime):
        raise MissingExtraError(f"{runtime} is not installed.")

    monkeypatch.setattr(compare, "check_runtime", missing)
    (tmp_path / "recipe.yaml").write_text(COMPARE)
    code, _, err = secateur("compare", "recipe.yaml", "--dry-run")
    assert code == 2
    assert "onnxruntime is not installed" in one_line(err)


def test_a_comparison_under_way_tells_what_is_done(secateur, photos, tmp_path):
    from secateur.files import write_whole
    from secateur.job.compare import orders_of
    from secateur.job.contender import OUTCOME, Outcome
    from secateur.job.folder import RunFolder
    from secateur.job.start import Start
    from secateur.recipe.recipe import Recipe
    from secateur.reporting.comparison import Trial

    (tmp_path / "recipe.yaml").write_text(COMPARE)
    recipe = Recipe.load(tmp_path / "recipe.yaml")
    folder = RunFolder(tmp_path / "out", recipe.start)
    Start(recipe.start, folder, lambda line: None, verbose=False).begin()
    for order in orders_of(recipe, folder, ("onnxruntime",))[1:3]:
        why = "it failed" if order.name == "taylor" else ""
        made = Outcome(identity=order.identity, trial=Trial(seed=0, folder="a", failure=why))
        write_whole(order.folder / OUTCOME, made.model_dump_json())
    words = ("compare", "recipe.yaml", "--out", "out", "--dry-run", "--json")
    told = is_told("compare --dry-run", *secateur(*words))
    assert {each["name"]: each["done"] for each in told["contenders"]} == {
        "taylor": [],
        "rounds": [0],
    }
    assert told["train"] is False


@pytest.mark.parametrize(
    ("step", "most"),
    [
        ({"prune": {"macs": 0.5}}, 0),
        ({"prune": {"macs": 0.5, "epochs": 4, "rounds": 3}}, 8),
        ({"prune": {"max_drop": 1, "epochs": 4, "trials": 5}}, 20),
        ({"finetune": {"epochs": 3}}, 3),
        ({"factorize": {"macs": 0.5}}, 0),
    ],
)
def test_epochs_are_counted_as_steps_train(step, most):
    from secateur.job.rehearsal import most_epochs
    from secateur.recipe.steps import to_step

    assert most_epochs(to_step(step)) == most
