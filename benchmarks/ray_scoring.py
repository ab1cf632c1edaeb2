"""What Ray costs: the same job on the local engine and on Ray, on the cores of this machine.

    python benchmarks/ray_scoring.py [--rows 8000000] [--repeat 3]

Both engines score the same Parquet files (64 float32 columns) with the same small dense model, in
turn, each run in a process of its own, Ray started for it. The steady rate leaves out the start of
both: it counts from the moment when four parts are done. The scores must be equal byte for byte.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scoring_data import make_artifact, make_data

WARM_PARTS = 4


def run(engine: str, artifact: Path, data: Path, out: Path, threads: int) -> dict[str, float]:
    # PyArrow imports pandas on first use, so that is done before the clock starts.
    import pandas  # noqa: F401

    from secateur.scoring.score import score

    moments: list[tuple[int, float]] = []

    def progress(rows: int, parts: int, total: int) -> None:
        if not moments or moments[-1][0] != parts:
            moments.append((parts, time.perf_counter()))

    options: dict[str, Any] = {"engine": engine, "threads": threads}
    began = time.perf_counter()
    tally = score(artifact, data, out, progress=progress, **options)
    ended = time.perf_counter()
    parts, warm = next(moment for moment in moments if moment[0] >= WARM_PARTS)
    steady_rows = tally.rows * (tally.parts - parts) / tally.parts
    return {
        "rows": tally.rows,
        "seconds": ended - began,
        "steady": steady_rows / (moments[-1][1] - warm),
    }


def in_process(*arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--job", json.dumps([*map(str, arguments)])]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return json.loads(done.stdout.splitlines()[-1])


def do_job(job: str, *arguments: str) -> None:
    found: dict[str, float] = {}
    if job == "data":
        make_data(Path(arguments[0]), int(arguments[1]))
    elif job == "artifact":
        make_artifact(Path(arguments[0]))
    else:
        artifact, data, out = map(Path, arguments[:3])
        found = run(job, artifact, data, out, int(arguments[3]))
    print(json.dumps(found))


def same(one: Path, other: Path) -> bool:
    names = sorted(file.name for file in one.glob("part-*.parquet"))
    if names != sorted(file.name for file in other.glob("part-*.parquet")):
        return False
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


def table(folder: Path, rows: int, repeat: int, threads: int) -> str:
    artifact, data = folder / "artifact", folder / "data"
    in_process("artifact", artifact)
    in_process("data", data, rows)
    runs: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    equal = True
    for number in range(repeat):
        for engine, found in runs.items():
            out = folder / f"{engine}-{number}"
            found.append(in_process(engine, artifact, data, out, threads))
        equal &= same(folder / f"local-{number}", folder / f"ray-{number}")
    lines = ["| engine | rows/s, steady | against local | seconds in all |", "|---|---:|---:|---:|"]
    pairs = zip(runs["local"], runs["ray"], strict=True)
    times = {
        "local": 1.0,
        "ray": statistics.median(local["steady"] / ray["steady"] for local, ray in pairs),
    }
    for engine, found in runs.items():
        steady = statistics.median(one["steady"] for one in found)
        seconds = statistics.median(one["seconds"] for one in found)
        lines.append(f"| {engine} | {steady:,.0f} | {times[engine]:.2f}x | {seconds:.1f} |")
    said = "equal byte for byte" if equal else "NOT EQUAL"
    cores = f"{rows:,} rows, {threads} cores, median of {repeat} pairs of runs"
    return "\n".join([*lines, "", f"{cores}; the scores are {said}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=8_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs; the median counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path, help="where the data is made for a while")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        do_job(*json.loads(options.job))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(table(Path(folder), options.rows, options.repeat, options.threads))


if __name__ == "__main__":
    main()
