"""Rows a second and peak memory: `secateur.score` against pandas + `keras.predict`.

    python benchmarks/scoring.py [--rows 1000000 10000000] [--quick]

Every method scores the same Parquet files (64 float32 columns) with the same small dense model, and
writes the predicted class and its probability to Parquet, each in a process of its own. The clock
starts when packages are imported and the model is loaded, and stops when the last score is
written. Keras goes file by file, which is kind to it: reading the whole folder at once is the same
speed and takes memory that grows with the data. A batch of 32 is what `predict` does when nobody
tells it otherwise; it is so slow that it is measured on the first file alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COLUMNS = [f"f{i:02d}" for i in range(64)]
CLASSES = ("a", "b", "c", "d")
FILE_ROWS = 250_000
METHODS = ("secateur score", "pandas + predict, batch 32", "pandas + predict, batch 8192")


def make_data(folder: Path, rows: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        x = random.standard_normal((min(FILE_ROWS, rows - start), 64), dtype="float32")
        table = pa.table({name: x[:, i] for i, name in enumerate(COLUMNS)})
        pq.write_table(table, folder / f"{number:04d}.parquet", row_group_size=65_536)


def make_artifact(folder: Path) -> None:
    import keras
    import numpy as np
    from keras import layers

    from secateur.data.contract import Contract, NumericColumn, Target
    from secateur.formats.onnx import export

    contract = Contract(
        kind="table",
        columns=tuple(NumericColumn(name=name, low=-8, high=8) for name in COLUMNS),
        target=Target(name="class", classes=CLASSES),
    )
    model = keras.Sequential(
        [
            keras.Input((64,), name="numeric"),
            layers.Normalization(mean=np.zeros(64), variance=np.ones(64)),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )
    export(model, folder, contract=contract)


def run_secateur(artifact: Path, data: Path, out: Path) -> tuple[int, float]:
    # PyArrow imports pandas on first use, so here too that is done before the clock starts.
    import pandas  # noqa: F401

    from secateur.formats.artifact import Artifact
    from secateur.scoring.score import score

    opened = Artifact.open(artifact)
    began = time.perf_counter()
    tally = score(opened, data, out)
    assert tally.rows == tally.scored
    return tally.rows, time.perf_counter() - began


def run_keras(
    artifact: Path, data: Path, out: Path, *, batch: int, files: int | None = None
) -> tuple[int, float]:
    import keras
    import numpy as np
    import pandas as pd

    model: keras.Model = keras.saving.load_model(artifact / "model.keras")  # type: ignore
    out.mkdir()
    names, rows = np.array(CLASSES), 0
    began = time.perf_counter()
    for file in sorted(data.iterdir())[:files]:
        frame = pd.read_parquet(file)
        x = frame.to_numpy("float32")
        outputs = model.predict(x, batch_size=batch, verbose=0)  # type: ignore
        answer = {"prediction": names[outputs.argmax(1)], "probability": outputs.max(1)}
        pd.DataFrame(answer).to_parquet(out / file.name)
        rows += len(frame)
    return rows, time.perf_counter() - began


RUNS: dict[str, Callable[[Path, Path, Path], tuple[int, float]]] = {
    METHODS[0]: run_secateur,
    METHODS[1]: lambda artifact, data, out: run_keras(artifact, data, out, batch=32, files=1),
    METHODS[2]: lambda artifact, data, out: run_keras(artifact, data, out, batch=8192),
}


def peak_mib() -> float:
    """Return the most memory that this process ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the peak of a process")


def in_process(job: str, *arguments: object) -> dict[str, float]:
    """Run one job of this file in a process of its own, and return what it measured."""
    command = [sys.executable, __file__, "--job", json.dumps([job, *map(str, arguments)])]
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
        rows, seconds = RUNS[job](*map(Path, arguments))
        found = {"rows": rows, "seconds": seconds, "peak": peak_mib()}
    print(json.dumps(found))


def table(sizes: list[int], folder: Path, repeat: int) -> str:
    in_process("artifact", folder / "artifact")
    lines = [
        "| rows | method | rows/s | secateur is | peak MiB |",
        "|---:|---|---:|---:|---:|",
    ]
    for size in sizes:
        in_process("data", folder / str(size), size)
        rates: dict[str, float] = {}
        for method in METHODS:
            runs = [
                in_process(
                    method,
                    folder / "artifact",
                    folder / str(size),
                    folder / f"out-{size}-{number}-{METHODS.index(method)}",
                )
                for number in range(repeat)
            ]
            best = min(runs, key=lambda run: run["seconds"] / run["rows"])
            rates[method] = best["rows"] / best["seconds"]
            part = "" if best["rows"] == size else f" (on {best['rows']:,.0f} rows)"
            ratio = rates[METHODS[0]] / rates[method]
            times = "" if method == METHODS[0] else f"{ratio:.1f}x"
            peak = max(run["peak"] for run in runs)
            lines.append(
                f"| {size:,} | {method}{part} | {rates[method]:,.0f} | {times} | {peak:,.0f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--quick", action="store_true", help="250,000 and 500,000 rows")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--folder", type=Path, help="where the data is made for a while")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        do_job(*json.loads(options.job))
        return
    sizes = [250_000, 500_000] if options.quick else options.rows
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(table(sizes, Path(folder), options.repeat))


if __name__ == "__main__":
    main()
