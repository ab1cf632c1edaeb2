"""Kill -9 at random moments of a job of 40 parts: what was killed when, and what was lost.

    python benchmarks/kill.py [--moments 20] [--seed 0]

`--moments` of them go to a local job, and as many to a job on a Ray cluster of two nodes: in turn
to the process that drives it, and to a worker in the middle of a part. A job whose process was
killed is started again; a job that lost a worker goes on by itself. In the end all scores and bad
rows must be those of a job that nobody killed, byte for byte; the ledger must have each part once;
and parts that were done at the kill must be the same files as then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from e2e.killing import BLOCK_ROWS, Job, Trial, finish, kill_driver, kill_worker, start, write_job
from secateur.scoring.score import score

HEAD = (
    "| # | killed | parts done at the kill | files of parts not done | parts done again "
    "| scores and bad rows equal | each part once |\n"
    "|---:|---|---:|---:|---:|---|---|"
)


def local(job: Job, folder: Path, seeds: range) -> Iterator[Trial]:
    for seed in seeds:
        out = folder / f"local-{seed}"

        def resume(out: Path = out) -> None:
            score(job.artifact, job.data, out, batch_rows=BLOCK_ROWS)

        yield kill_driver(job, out, seed, resume, engine="local", threads=2)


def on_ray(job: Job, folder: Path, seeds: range) -> Iterator[Trial]:
    from e2e.cluster import Cluster

    with Cluster(cores=1) as cluster:
        cluster.add(cores=1)
        options = {"engine": "ray", "address": cluster.address}
        for seed in seeds:
            out = folder / f"ray-{seed}"

            def resume(out: Path = out) -> None:
                finish(start(job, out, cluster.environment, **options))

            if seed % 2:
                yield kill_worker(job, out, seed, cluster.nodes, cluster.environment, **options)
            else:
                yield kill_driver(job, out, seed, resume, cluster.environment, **options)


def row(number: int, trial: Trial) -> str:
    cells = (
        number,
        trial.victim,
        trial.done,
        trial.unfinished,
        0 if trial.untouched else "some",
        "yes" if trial.same else "NO",
        "yes" if trial.once else "NO",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=20, help="for each engine")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other moments")
    parser.add_argument("--engine", choices=["local", "ray", "both"], default="both")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.moments)
    runs = {"local": [local], "ray": [on_ray], "both": [local, on_ray]}[options.engine]
    good = total = 0
    with tempfile.TemporaryDirectory() as name:
        job = write_job(Path(name, "job"))
        print(HEAD, flush=True)
        for run in runs:
            for trial in run(job, Path(name), seeds):
                total, good = total + 1, good + trial.good
                print(row(total, trial), flush=True)
    print(f"\n{good} of {total} jobs ended as if nobody had killed them.")
    sys.exit(good < total)


if __name__ == "__main__":
    main()
