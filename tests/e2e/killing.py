"""Jobs that are killed at a random moment, and the proof that nothing of them was lost or doubled.

A moment is a number of parts that are done and a share of the time that the next one takes, so that
moments spread over a whole job, however fast the machine is.
"""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from secateur.scoring.score import score
from unit.scoring.artifacts import as_table, numbers, table_contract, write_artifact

PARTS = 40
PART_ROWS = 200
# So few rows are read at a time that a part takes long enough to be caught in its middle.
BLOCK_ROWS = 4
WAIT_SECONDS = 180
_PART_SECONDS = 0.1

DRIVER = """
import json, sys
from secateur.scoring.score import score
artifact, source, out, options = sys.argv[1:]
print(score(artifact, source, out, **json.loads(options)).model_dump_json())
"""


@dataclass(frozen=True)
class Job:
    """What is scored, and its scores where nobody killed anything."""

    artifact: Path
    data: Path
    whole: Path


@dataclass(frozen=True)
class Trial:
    """What was killed when, and what was left of it.

    Attributes:
        asked: how many parts were to be done at the kill.
        done: how many parts the ledger had just after it.
        unfinished: files of parts that were not in the ledger.
        untouched: whether the files of parts that were done are the same files in the end.
        same: whether all scores and bad rows are those of the uninterrupted job, byte for byte.
        once: whether the ledger has each part once.
    """

    victim: str
    asked: int
    done: int
    unfinished: int
    untouched: bool
    same: bool
    once: bool

    @property
    def good(self):
        return self.untouched and self.same and self.once


def write_job(folder, rows=PART_ROWS):
    """Write a job of 40 parts of some rows, with bad ones in every fourth of them."""
    folder.mkdir(parents=True, exist_ok=True)
    artifact = write_artifact(folder / "artifact", table_contract(keys=("id",)))
    (folder / "data").mkdir()
    for part in range(PARTS):
        x = numbers(rows, seed=part)
        if part % 4 == 0:
            x[part % 7 :: 50, 1] = np.nan
        table = as_table(x, first_id=part * rows)
        pq.write_table(table, folder / "data" / f"data-{part:03d}.parquet")
    tally = score(artifact, folder / "data", folder / "whole", batch_rows=BLOCK_ROWS)
    assert tally.rows == PARTS * rows
    assert tally.quarantined > 0
    return Job(artifact.path, folder / "data", folder / "whole")


def start(job, out, environment=None, **options):
    """Start a job in a process of its own."""
    arguments = [str(job.artifact), str(job.data), str(out)]
    arguments.append(json.dumps(options | {"batch_rows": BLOCK_ROWS}))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait until a job ends well."""
    stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, stderr, stdout.count("\n")) == (0, "", 1), stdout
    return json.loads(stdout)


def wait_for(out, parts, process):
    """Wait until so many parts are done."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (out / "ledger.jsonl").exists() or len(entries(out)) < parts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def entries(out):
    """Return the whole lines of the ledger, that of the job aside."""
    lines = (out / "ledger.jsonl").read_bytes().rpartition(b"\n")[0].splitlines()
    return [json.loads(line) for line in lines[1:]]


def files(out):
    """Return the paths of all files of parts below a folder, finished or not."""
    found = [path for path in out.rglob("*") if path.is_file()]
    return {str(path.relative_to(out)) for path in found if "part-" in path.name}


def marks(out, ledger):
    """Return what changes when a file is written anew, of the parts of these lines."""
    numbers_of = {entry["number"] for entry in ledger}
    return {
        name: ((out / name).stat().st_ino, (out / name).stat().st_mtime_ns)
        for name in files(out)
        if ".partial" not in name and int(Path(name).stem.partition("-")[2]) in numbers_of
    }


def same_bytes(out, whole):
    """Tell whether two folders hold the same scores and bad rows."""
    names = files(whole)
    return files(out) == names and all(
        (out / name).read_bytes() == (whole / name).read_bytes() for name in names
    )


def kill_driver(job, out, seed, resume, environment=None, **options):
    """Kill the process that runs a job, start it again, and look at what came of it."""
    chance = random.Random(seed)
    parts, pause = chance.randrange(PARTS), chance.uniform(0, _PART_SECONDS)
    process = start(job, out, environment, **options)
    wait_for(out, parts, process)
    time.sleep(pause)
    process.kill()
    process.communicate()
    ledger = entries(out)
    before = marks(out, ledger)
    unfinished = len(files(out)) - len(before)
    resume()
    return _trial(f"{options['engine']}: driver", job, out, parts, ledger, before, unfinished)


def kill_worker(job, out, seed, nodes, environment, **options):
    """Kill a Ray worker that does a part; the job must go on by itself."""
    chance = random.Random(seed)
    parts = chance.randrange(PARTS - 4)
    process = start(job, out, environment, **options)
    wait_for(out, parts, process)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (workers := [worker for node in nodes for worker in node.workers()]):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
    chance.choice(workers).kill()
    ledger = entries(out)
    before = marks(out, ledger)
    unfinished = len(files(out)) - len(before)
    finish(process)
    return _trial("ray: worker", job, out, parts, ledger, before, unfinished)


def _trial(victim, job, out, asked, ledger, before, unfinished):
    after = entries(out)
    return Trial(
        victim=victim,
        asked=asked,
        done=len(ledger),
        unfinished=unfinished,
        untouched=marks(out, ledger) == before,
        same=same_bytes(out, job.whole) and not list(out.rglob("*.partial")),
        once=len({entry["source"] for entry in after}) == len(after) == PARTS,
    )
