"""Ctrl-C on whole processes: they leave what can be gone on from, and say how."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unit.scoring.artifacts import table_contract, write_artifact, write_parquet_files

pytestmark = pytest.mark.long

# A shell starts background jobs with ctrl-C switched off, and their children inherit that.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from secateur.cli import main; main()"
)
RECIPE = """\
name: shades
data: {source: photos, image_size: [16, 16], mode: L, split: [0.5, 0.25, 0.25]}
model: {width: 8}
train: {epochs: 60, batch_size: 8}
measure: {batches: [1], seconds: 0.05}
"""
EPOCHS = 60
# The machine may be busy with other work.
PATIENCE = 600


def start(home: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )


def finished(process: subprocess.Popen) -> tuple[str, str]:
    """Return what was printed once a process has ended; it does not outlive the test."""
    try:
        return process.communicate(timeout=PATIENCE)
    finally:
        process.kill()


def interrupt_when(process: subprocess.Popen, ready) -> tuple[str, str]:
    """Send ctrl-C once something is there, and return what was printed."""
    end = time.monotonic() + PATIENCE
    try:
        while not ready():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "it never got so far"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        return finished(process)
    finally:
        process.kill()


def error_of(err: str) -> str:
    (line,) = [each for each in err.splitlines() if each.startswith("error: ")]
    return line


def test_a_run_goes_on_with_the_command_that_it_names(tmp_path):
    random = np.random.default_rng(0)
    for name, shade in (("dark", 80), ("light", 170)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(24):
            pixels = random.normal(shade, 40, (16, 16)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    process = start(tmp_path, "run", "recipe.yaml", "--out", "out", "--set", "seed=3")
    state = tmp_path / "out" / "checkpoints" / "train"
    out, err = interrupt_when(process, lambda: state.is_dir() and any(state.iterdir()))
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    told = error_of(err).partition("Go on with: ")[2]
    assert told == "secateur run recipe.yaml --out out --set seed=3 --resume"
    assert json.loads((tmp_path / "out" / "state.json").read_text())["facts"] == {}
    again = start(tmp_path, *shlex.split(told)[1:], "--json")
    out, err = finished(again)
    assert again.returncode == 0, err
    assert [each["name"] for each in json.loads(out)["stages"]] == ["baseline", "exported"]
    (curve,) = json.loads((tmp_path / "out" / "run.json").read_text())["curves"]
    assert len(curve["metrics"]["loss"]) == EPOCHS


def test_scoring_goes_on_with_the_same_command(tmp_path):
    write_artifact(tmp_path / "artifact", table_contract())
    write_parquet_files(tmp_path / "data", [20_000] * 40)
    words = ("score", "artifact", "data", "scored", "--threads", "1", "--batch-rows", "500")
    process = start(tmp_path, *words)
    ledger = tmp_path / "scored" / "ledger.jsonl"
    out, err = interrupt_when(
        process, lambda: ledger.is_file() and len(ledger.read_bytes().splitlines()) > 2
    )
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "Give the same command again" in error_of(err)
    done = len(ledger.read_bytes().splitlines()) - 1
    assert 0 < done < 40
    again = start(tmp_path, *words, "--json")
    out, err = finished(again)
    assert again.returncode == 0, err
    tally = json.loads(out)
    assert tally["rows"] == tally["scored"] == 40 * 20_000
    assert tally["resumed"] == done
    assert len(list((tmp_path / "scored").glob("part-*.parquet"))) == 40
