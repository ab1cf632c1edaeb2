"""`secateur compare` as a whole: one contender that comes through, one that does not."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from secateur.cli import main
from secateur.errors import DataError
from secateur.job.compare import compare
from secateur.recipe.recipe import Recipe
from secateur.reporting.comparison import Comparison

pytestmark = pytest.mark.slow

STRIPES = {
    "name": "stripes",
    "data": {"source": "photos", "image_size": [16, 16]},
    "model": {"width": 16},
    "train": {"epochs": 3, "learning_rate": 0.003},
    "measure": {"batches": [1, 4], "seconds": 0.1},
    "compare": {
        "epochs": 1,
        "seeds": [0, 1],
        "runtimes": ["onnxruntime"],
        "contenders": {
            "magnitude": None,
            "broken": [{"prune": {"macs": 0.5, "keep": ["nothing*"]}}],
        },
    },
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Write striped pictures and the recipe, and return their folder."""
    folder = tmp_path_factory.mktemp("stripes")
    random = np.random.default_rng(0)
    down, across = np.mgrid[:16, :16]
    for name, along in (("down", down), ("across", across)):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(30):
            wave = 80 * np.sin(along * 1.2 + random.uniform(0, 6))
            pixels = 127 + wave + random.normal(0, 20, (16, 16))
            image = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
            image.save(folder / "photos" / name / f"{index}.png")
    (folder / "recipe.yaml").write_text(json.dumps(STRIPES))
    return folder


def secateur(capfd, *words) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    told = capfd.readouterr()
    return caught.value.code or 0, told.out, told.err


def test_a_comparison_comes_through_though_a_contender_fails(home, capfd, tmp_path):
    out = tmp_path / "out"
    words = ("compare", home / "recipe.yaml", "--out", out, "--jobs", 2)
    code, told, err = secateur(capfd, *words)
    assert code == 0
    assert err.count("failed     broken") == 2
    assert "broken (failed)" in told
    assert "failed: broken: keep: the pattern 'nothing*' matches no layer" in told
    made = Comparison.load(out)
    assert [each.name for each in made.came_through] == ["magnitude"]
    first, second = made.entrants[0].trials
    base = made.baseline.trials[0]
    assert first.macs == second.macs <= 0.5 * base.macs
    assert (base.epochs, first.epochs) == (0, 1)
    for trial in (base, first, second):
        (file,) = trial.written
        assert file.metrics.rows == 12
        assert [each.batch for each in file.timings] == [1, 4]
        assert all(each.left > 0 for each in file.timings)
        assert file.memory is None or file.memory > 0
    assert (out / "compare.html").read_text().count("<tr data-name=") == 3
    assert not list(out.rglob("training.npz"))

    # What is finished is not done again: only what failed is, and it fails again.
    code, _, err = secateur(capfd, *words)
    assert code == 0
    assert "done before" in err
    assert "done       " not in err
    assert err.count("failed     broken") == 2
    assert "race" not in err
    again = Comparison.load(out)
    assert again.entrants == made.entrants

    # One more contender is the only one that runs; the races are held again with it.
    more = json.loads(json.dumps(STRIPES))
    del more["compare"]["contenders"]["broken"]
    more["compare"]["contenders"]["tuned"] = [{"finetune": {"epochs": 1}}]
    said = []
    third = compare(Recipe.of(more, home), out, progress=said.append)
    assert next(line for line in said if line.startswith("done")).startswith("done       tuned")
    assert sum(line.startswith("done") for line in said) == 2
    assert [each.name for each in third.came_through] == ["magnitude", "tuned"]
    assert third.entrants[0].trials[0].macs == first.macs


@pytest.mark.long
def test_where_nobody_comes_through_that_is_an_error(home, capfd, tmp_path):
    only = '{"broken": [{"prune": {"macs": 0.5, "keep": ["nothing*"]}}]}'
    change = ("--set", f"compare.contenders={only}", "--set", "compare.seeds=[0]")
    words = ("compare", home / "recipe.yaml", "--out", tmp_path / "out", "--quiet", *change)
    code, told, err = secateur(capfd, *words)
    assert code == 2
    assert "No contender came through" in told
    assert err.count("error: ") == 1
    assert (tmp_path / "out" / "compare.html").exists()


def test_other_data_is_refused(home, tmp_path):
    recipe = Recipe.of(STRIPES, home)
    from secateur.job.folder import RunFolder

    folder = RunFolder(tmp_path / "out", recipe.start)
    folder.begin("other data")
    with pytest.raises(Exception, match="the data has changed"):
        compare(recipe, tmp_path / "out")
    with pytest.raises(DataError):
        compare(Recipe.of({**STRIPES, "data": {"source": "nothing"}}, home), tmp_path / "new")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.long
def test_a_killed_comparison_goes_on(home, tmp_path):
    long = {"long": [{"finetune": {"epochs": 60}}]}
    tree = {**STRIPES, "compare": {**STRIPES["compare"], "seeds": [0], "contenders": long}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    (tmp_path / "photos").symlink_to(home / "photos")
    program = "from secateur.cli import main; main()"
    words = [sys.executable, "-c", program, "compare", "recipe.yaml", "--out", "out", "--quiet"]
    process = subprocess.Popen(words, cwd=tmp_path)
    trial = tmp_path / "out/contenders/long/seed-0"
    state = trial / "checkpoints/0/training.npz"
    deadline = time.monotonic() + 300
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    assert state.exists()
    seen = state.stat().st_mtime
    time.sleep(2)
    assert state.stat().st_mtime == seen, "the contender's process lives on"
    made = compare(Recipe.of(tree, home), tmp_path / "out")
    assert made.entrants[0].trials[0].epochs == 60
    assert not (trial / "checkpoints").exists()
