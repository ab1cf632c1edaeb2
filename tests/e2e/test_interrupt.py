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

pytestmark = pytest.mark.slow

PROGRAM = "from secateur.cli import main; main()"
RECIPE = """\
name: shades
data: {source: photos, image_size: [16, 16], mode: L, split: [0.5, 0.25, 0.25]}
model: {width: 8}
train: {epochs: 400, batch_size: 8}
measure: {batches: [1], seconds: 0.05}
"""


def start(home: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
    )


def interrupt_when(process: subprocess.Popen, ready, seconds: float = 120) -> tuple[str, str]:
    """Send ctrl-C once something is there, and return what was printed."""
    end = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it never got so far"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


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
    # The recipe says how long to train; stopping it early here keeps the test short.
    again = start(tmp_path, *shlex.split(told)[1:], "--dry-run", "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert json.loads(out)["done"] == []
    again = start(tmp_path, *shlex.split(told)[1:])
    begun = json.dumps(sorted(path.name for path in state.iterdir()))
    out, err = interrupt_when(again, lambda: _moved(state, begun))
    assert again.returncode == 130, err
    assert "--resume" in error_of(err)


def _moved(state: Path, begun: str) -> bool:
    newest = max((path.stat().st_mtime for path in state.rglob("*")), default=0.0)
    return bool(begun) and time.time() - newest < 0.5


def test_scoring_goes_on_with_the_same_command(tmp_path):
    write_artifact(tmp_path / "artifact", table_contract())
    write_parquet_files(tmp_path / "data", [60_000] * 60)
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
    assert 0 < done < 60
    again = start(tmp_path, *words, "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    tally = json.loads(out)
    assert tally["rows"] == tally["scored"] == 60 * 60_000
    assert tally["resumed"] == done
    assert len(list((tmp_path / "scored").glob("part-*.parquet"))) == 60
