"""Training from a Parquet set that is larger than the memory that the process is allowed.

    python benchmarks/streaming.py [--gigabytes 2.3] [--limit 700] [--epochs 2]

A set of float columns is generated in shards. The same model is trained on it in processes of their
own: streamed, from a mapped file, and in memory, each under a limit, and in memory without one. The
limit is that of a memory cgroup (version 1 or 2; it takes root): all that the process touches
counts, pages of files as well, of which the system takes back what is needed. RLIMIT_AS and
RLIMIT_DATA do not serve: TensorFlow and Arrow reserve gigabytes that they never touch.

One table out: rows a second of feeding alone (no model), by the clock and by the seconds that the
processors worked, the former as a share of what memory gives; the largest private resident memory;
and the accuracy on the test split.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLUMNS, ROW_GROUP, SHARD, CACHE = 256, 4096, 65_536, 96 * 2**20
MODES = ("streamed", "mapped", "memory, limited", "memory")


def main() -> None:
    """Generate the set, train in each way, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2.3)
    parser.add_argument("--limit", type=int, default=700, help="megabytes")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        train(asked.child[0], Path(asked.child[1]), asked.epochs)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder, asked.gigabytes)
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{size / 2**20:,.0f} MB of Parquet, {asked.limit} MB allowed", flush=True)
        with memory_group(asked.limit) as group:
            found = {mode: child(mode, folder, group, asked.epochs) for mode in asked.modes}
    whole = (found.get("memory") or {}).get("rate")
    print(
        "| training | feeding, rows/s | of memory's | rows/processor s | private, MB | accuracy |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for mode, each in found.items():
        if each is None:
            print(f"| {mode} | out of memory | | | | |")
            continue
        share = f"{each['rate'] / whole:.2f}" if whole else ""
        print(
            f"| {mode} | {each['rate']:,.0f} | {share} | {each['worked']:,.0f} | "
            f"{each['private']:,.0f} | {each['accuracy']:.4f} |"
        )


def generate(folder: Path, gigabytes: float) -> None:
    """Write shards of float columns and a class that nearly follows from them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    weights = random.normal(size=COLUMNS).astype("float32") / np.sqrt(COLUMNS)
    shards = max(1, round(gigabytes * 1e9 / (4 * COLUMNS * SHARD)))
    for shard in range(shards):
        x = random.standard_normal((SHARD, COLUMNS), np.float32)
        over = x @ weights + 0.3 * random.standard_normal(SHARD, np.float32) > 0
        columns = {f"x{i}": x[:, i] for i in range(COLUMNS)}
        pq.write_table(
            pa.table({**columns, "y": np.where(over, "over", "under")}),
            folder / f"{shard:04}.parquet",
            row_group_size=ROW_GROUP,
            compression="none",
            use_dictionary=["y"],
        )


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """Yield the folder of a memory cgroup with a limit."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory").is_dir()
    group = root / ("memory" if old else "") / f"secateur-{os.getpid()}"
    group.mkdir()
    try:
        limit = group / ("memory.limit_in_bytes" if old else "memory.max")
        limit.write_text(str(megabytes * 2**20))
        yield group
    finally:
        group.rmdir()


def child(mode: str, folder: Path, group: Path, epochs: int) -> dict[str, float] | None:
    """Train in a process of its own; None where memory did not do."""

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    done = subprocess.run(
        [sys.executable, __file__, "--child", mode, str(folder), "--epochs", str(epochs)],
        preexec_fn=None if mode == "memory" else enter,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    told = done.stderr.strip().splitlines()[-1:]
    print(f"{mode}: exit code {done.returncode}: {' '.join(told)[:200]}", flush=True)
    return None


def train(mode: str, folder: Path, epochs: int) -> None:
    """Train, and print what was measured."""
    private = watched()
    import keras

    from secateur.data.read import read
    from secateur.evaluation.evaluate import evaluate
    from secateur.models.build import build
    from secateur.steps.training import fit

    arguments = {
        "streamed": {"stream": True, "cache_bytes": CACHE},
        "mapped": {"stream": False, "cache_bytes": CACHE},
    }.get(mode, {"stream": False, "cache_bytes": 2**40})
    data = read(folder, target="y", split=(0.8, 0.1, 0.1), **arguments)
    batches = data.train.batches(1024, shuffle=True)
    start, worked, rows = time.perf_counter(), time.process_time(), 0
    for index in range(len(batches)):
        rows += len(batches[index][1])
    found = {
        "rate": rows / (time.perf_counter() - start),
        "worked": rows / (time.process_time() - worked),
    }
    keras.utils.set_random_seed(0)
    model, _ = fit(build(data.contract, width=32, seed=0), data, epochs=epochs, batch_size=1024)
    found["accuracy"] = evaluate(model, data.test).accuracy
    found["private"] = private()
    print(json.dumps(found))


def watched():
    """Look at the private resident memory ten times a second; return what gives its maximum."""
    most = [0.0]

    def look() -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    most[0] = max(most[0], int(line.split()[1]) / 1024)
            time.sleep(0.1)

    threading.Thread(target=look, daemon=True).start()
    return lambda: most[0]


if __name__ == "__main__":
    main()
