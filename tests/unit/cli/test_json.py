"""What `--json` prints has the keys that are promised, and nothing stands beside it."""

import json

import pytest

from secateur.cli import out
from secateur.cli.promises import TOLD
from unit.cli.commands import RECIPE, is_told, one_line

EXPLORE = """\
name: shades
data: {source: photos, image_size: [8, 8], mode: L, split: [0.5, 0.25, 0.25]}
model: {load: model.keras}
steps:
  - prune: {macs: {low: 0.5, high: 0.9}, by: l2, round_to: 4, heal: false}
explore: {objectives: [accuracy, macs], trials: 2}
"""
COMPARE = """\
name: shades
data: {source: photos, image_size: [8, 8], mode: L, split: [0.5, 0.25, 0.25]}
model: {load: model.keras}
measure: {batches: [1], seconds: 0.05}
compare:
  seeds: [0]
  runtimes: [onnxruntime]
  contenders: {half: [{prune: {macs: 0.6, by: l2, heal: false}}]}
"""


# A server prints no result.
SERVERS = {"try"}


def test_every_command_that_prints_results_has_json(secateur):
    from typer.main import get_command

    from secateur.cli.app import app

    for name, command in get_command(app).commands.items():
        if name in SERVERS:
            continue
        flags = {flag for each in command.params for flag in each.opts}
        assert "--json" in flags, name
        assert name in TOLD, name


def test_every_promise_says_what_its_keys_are():
    for name, model in TOLD.items():
        assert model.__doc__, name
        assert model.model_json_schema()["properties"], name


def test_init_report_and_run_tell_json(secateur, photos, tmp_path):
    told = is_told("init", *secateur("init", photos, "--json"))
    assert told["rows"] == 32
    assert set(told["classes"]) == {"dark", "light"}
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    told = is_told("run", *secateur("run", "recipe.yaml", "--out", "out", "--json"))
    assert [each["name"] for each in told["stages"]] == ["baseline", "exported"]
    assert told["headline"]
    assert (tmp_path / told["artifact"] / "manifest.json").is_file()
    told = is_told("report", *secateur("report", "out", "--json"))
    assert (tmp_path / told["report"]).is_file()


def test_inspect_plan_export_and_score_tell_json(secateur, model, photos):
    is_told("inspect", *secateur("inspect", model, "--batch", "1", "--json"))
    is_told("plan", *secateur("plan", model, "--macs", "0.6", "--json"))
    told = is_told("export", *secateur("export", model, "artifact", "--data", photos, "--json"))
    assert told["contract"] is True
    told = is_told("score", *secateur("score", "artifact", photos, "scored", "--json"))
    assert told["rows"] == told["scored"] == 32


def test_explore_tells_json(secateur, model, photos, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "recipe.yaml").write_text(EXPLORE)
    told = is_told("explore", *secateur("explore", "recipe.yaml", "--out", "found", "--json"))
    assert len(told["trials"]) == 2
    best = [each for each in told["trials"] if each["model"]]
    assert best
    assert (tmp_path / told["folder"] / best[0]["model"]).is_file()


@pytest.mark.slow
def test_compare_tells_json(secateur, model, photos, tmp_path):
    (tmp_path / "recipe.yaml").write_text(COMPARE)
    told = is_told("compare", *secateur("compare", "recipe.yaml", "--out", "found", "--json"))
    assert [each["name"] for each in told["contenders"]] == ["baseline", "half"]
    half = told["contenders"][1]
    assert half["macs"] <= 0.6 * told["contenders"][0]["macs"]
    assert {(each["runtime"], each["batch"]) for each in half["times"]} == {("onnxruntime", 1)}
    assert (tmp_path / told["record"]).is_file()


def test_a_command_that_fails_prints_no_json(secateur):
    code, told, err = secateur("score", "none", "none", "none", "--json")
    assert (code, told) == (2, "")
    one_line(err)


def test_what_is_no_number_is_null(capsys):
    out.as_json({"a": float("nan"), "b": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}
