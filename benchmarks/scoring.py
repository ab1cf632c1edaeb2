"""Rows a second and peak memory of `secateur.score`: beside its physical limit and its peers.

    python benchmarks/scoring.py [--rows 1000000 10000000 50000000] [--csv-rows 1000000]
        [--images 100000] [--peers pandas tf.data Polars Ray Spark] [--out results.jsonl] [--quick]

Every method scores the same files with the same small model (tables of 64 float32 columns with
dense layers, photos of 96 x 96 with convolutions), and writes the predicted class and its
probability to Parquet, each in a process of its own. The clock starts when packages are imported,
the model is loaded and the engine (Ray, Spark) has started, and stops when the last score is
written; that every score was written is checked.

The physical limit is the slower of two things measured in the same run: reading the same files
alone, and the model alone. Where both need the same cores, no program reaches that; what it can
reach is `read + model`: the time of one and then the other, on all cores.

Peak memory is the most that the process ever held (VmHWM). Of Ray and Spark, which start others,
it is the largest sum over all their processes, sampled about five times a second, with shared pages
counted once.

A batch of 32 is what `predict` does when nobody tells it otherwise; it is so slow that it is
measured on the first file or folder alone. The peers are measured up to `--peers-rows` rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import scoring_data
from scoring_limits import LIMITS, MODEL, READ, SECATEUR, Job, run_secateur
from scoring_peers import peers_of, why_not

HERE = Path(__file__).parent
PACKAGES = (
    "keras",
    "tensorflow-cpu",
    "onnxruntime",
    "pyarrow",
    "pandas",
    "polars",
    "ray",
    "pyspark",
)
TITLE = {"parquet": "Parquet", "csv": "CSV", "jpeg": "JPEG"}
HEAD = (
    "| data | rows | threads | method | rows/s | secateur is | of the limit | of read + model "
    "| peak MiB |\n|---|---:|---:|---|---:|---:|---:|---:|---:|"
)


class Case(NamedTuple):
    """Some data to score in a number of threads, and whether the peers do it too."""

    kind: str
    rows: int
    threads: int
    peers: bool


def peak_mib() -> float:
    """Return the most memory that this process ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell the peak of a process")


def tree_mib(pid: int) -> float:
    """Return the memory of a process and all that it started; 0 where it started none."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        children = root.children(recursive=True)
        for process in [root, *children] if children else []:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total / 2**20


def in_process(*arguments: object, sample: bool = False) -> dict[str, Any]:
    """Run one job of this file in a process of its own, and return what it measured."""
    command = [sys.executable, __file__, "--job", json.dumps([*map(str, arguments)])]
    # Workers of Ray and Spark import what they run from here.
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": path,
        "PYSPARK_PYTHON": sys.executable,
    }
    tree = 0.0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=errors)
        while process.poll() is None:
            time.sleep(0.2)
            tree = max(tree, tree_mib(process.pid)) if sample else 0.0
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(errors.read().decode())
        found = json.loads(out.read().splitlines()[-1])
    if tree:
        found |= {"peak": tree, "cpu": None}
    return found


def do_job(job: str, *arguments: str) -> None:
    found: dict[str, Any] = {}
    if job == "data":
        scoring_data.make_data(Path(arguments[0]), int(arguments[1]), arguments[2])
    elif job == "artifact":
        scoring_data.make_artifact(Path(arguments[0]), arguments[1])
    else:
        artifact, data, out = map(Path, arguments[:3])
        found = measure(job, Job(artifact, data, out, arguments[3], *map(int, arguments[4:])))
    print("\n" + json.dumps(found))


def measure(method: str, job: Job) -> dict[str, Any]:
    """Run a method, and check that it wrote what it says."""
    work = ({SECATEUR: run_secateur} | LIMITS | peers_of(job.kind))[method](job)
    cpu, began = time.process_time(), time.perf_counter()
    rows = work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = peak_mib()
    if method not in LIMITS and (found := written(job.out)) != rows:
        raise RuntimeError(f"{method} wrote {found} scores of {rows} rows")
    return {"rows": rows, "seconds": seconds, "cpu": cpu, "peak": peak}


def written(out: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in out.glob("*.parquet"))


def measure_case(case: Case, folder: Path, repeat: int, peers: list[str]) -> Iterator[dict]:
    """Yield a record for each method; the limits and secateur take turns."""
    artifact = folder / ("artifact-photos" if case.kind == "jpeg" else "artifact-table")
    if not artifact.exists():
        in_process("artifact", artifact, case.kind)
    data, out = folder / f"{case.kind}-{case.rows}", folder / "out"
    if not data.exists():
        in_process("data", data, case.rows, case.kind)
    size = scoring_data.size_of(data)

    def run(method: str) -> dict[str, Any]:
        sample = method.startswith(("Ray", "Spark"))
        where = (artifact, data, out, case.kind, case.rows, case.threads)
        try:
            return in_process(method, *where, sample=sample)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def record(method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
        best = min(runs, key=lambda one: one["seconds"])
        return {
            "kind": case.kind,
            "rows": case.rows,
            "bytes": size,
            "threads": case.threads,
            "method": method,
            "measured_rows": best["rows"],
            "rate": best["rows"] / best["seconds"],
            "cpu": best["cpu"],
            "seconds": [round(one["seconds"], 3) for one in runs],
            "peak": max(one["peak"] for one in runs),
        }

    ours = [*LIMITS, SECATEUR]
    turns = [{method: run(method) for method in ours} for _ in range(repeat)]
    yield from (record(method, [turn[method] for turn in turns]) for method in ours)
    for peer in peers_of(case.kind) if case.peers else ():
        if peer.split()[0] not in peers:
            continue
        reason = why_not(peer)
        try:
            runs = [] if reason else [run(peer) for _ in range(repeat)]
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            reason, runs = f"failed: {lines[-1][:200]}", []
        if runs:
            yield record(peer, runs)
        else:
            where = {"kind": case.kind, "rows": case.rows, "threads": case.threads}
            yield {**where, "method": peer, "skipped": reason}


def lines_of(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table for the records of one case."""
    rates = {one["method"]: one["rate"] for one in records if "rate" in one}
    limit = min(rates[READ], rates[MODEL])
    both = 1 / (1 / rates[READ] + 1 / rates[MODEL])
    for one in records:
        method = one["method"]
        start = f"| {TITLE[one['kind']]} | {one['rows']:,} | {one['threads']} | {method}"
        if "skipped" in one:
            yield f"{start} | {one['skipped']} | | | | |"
            continue
        part = "" if one["measured_rows"] == one["rows"] else f" (on {one['measured_rows']:,} rows)"
        rate = one["rate"]
        times = shares = ""
        if method not in LIMITS:
            times = "" if method == SECATEUR else f"{rates[SECATEUR] / rate:.1f}x"
            shares = f"{rate / limit:.1%} | {rate / both:.1%}"
        yield f"{start}{part} | {rate:,.0f} | {times} | {shares or '|'} | {one['peak']:,.0f} |"


def memory_lines(records: list[dict[str, Any]]) -> Iterator[str]:
    """Say how the memory of secateur grows with the rows of a kind of data."""
    most = max(one["threads"] for one in records)
    ours = [one for one in records if (one["method"], one["threads"]) == (SECATEUR, most)]
    for kind in scoring_data.KINDS:
        peaks = {one["rows"]: one["peak"] for one in ours if one["kind"] == kind}
        least = min(peaks, default=0)
        for rows, peak in peaks.items():
            if rows != least:
                more = peak / peaks[least] - 1
                yield (
                    f"{TITLE[kind]}: the peak at {rows:,} rows is {peak:,.0f} MiB, "
                    f"{more:+.1%} of that at {least:,}."
                )


def machine() -> dict[str, Any]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": platform.python_version(),
        "packages": found,
    }


def machine_lines(here: dict[str, Any], records: list[dict[str, Any]]) -> Iterator[str]:
    packages = ", ".join(f"{name} {found}" for name, found in here["packages"].items())
    yield (
        f"{here['cores']} cores ({here['processor']}), {here['memory'] / 2**30:.1f} GiB of memory; "
        f"Python {here['python']}, {packages}."
    )
    most = max(one["bytes"] for one in records if "bytes" in one)
    fits = "fits" if most < 0.8 * here["memory"] else "does not fit"
    yield (
        f"The largest data takes {most / 1e9:.1f} GB, which {fits} into memory: files that were "
        f"read or made a short while ago come {'' if fits == 'fits' else 'partly '}from there."
    )


def cases_of(options: argparse.Namespace) -> list[Case]:
    most = max(options.threads)
    sizes = {"parquet": options.rows, "csv": options.csv_rows, "jpeg": options.images}
    found = []
    for kind, counts in sizes.items():
        for index, rows in enumerate(sorted(filter(None, counts))):
            # Other numbers of threads at the smallest size alone.
            for threads in sorted(set(options.threads)) if not index else [most]:
                peers = threads == most and rows <= options.peers_rows
                found.append(Case(kind, rows, threads, peers))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cores = os.cpu_count() or 1
    named = sorted({peer.split()[0] for kind in scoring_data.KINDS for peer in peers_of(kind)})
    sizes: dict[str, Any] = {"type": int, "nargs": "*"}
    parser.add_argument("--rows", **sizes, default=[1_000_000, 10_000_000, 50_000_000])
    parser.add_argument("--csv-rows", **sizes, default=[1_000_000])
    parser.add_argument("--images", **sizes, default=[100_000])
    parser.add_argument("--peers", nargs="*", choices=named, default=named)
    parser.add_argument("--peers-rows", type=int, default=1_000_000, help="the most for peers")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}))
    parser.add_argument("--quick", action="store_true", help="small sizes of everything")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--folder", type=Path, help="where the data is made for a while")
    parser.add_argument("--out", type=Path, help="a file that gets each result as a line of JSON")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        do_job(*json.loads(options.job))
        return
    if options.quick:
        options.rows, options.csv_rows, options.images = [500_000, 1_000_000], [100_000], [4_000]
        options.peers_rows = 500_000
    records: list[dict[str, Any]] = []
    saved = options.out.open("w") if options.out else contextlib.nullcontext()
    with saved as file, tempfile.TemporaryDirectory(dir=options.folder) as folder:

        def save(line: dict[str, Any]) -> None:
            if file is not None:
                print(json.dumps(line), file=file, flush=True)

        here = machine()
        save(here)
        print(HEAD, flush=True)
        for case in cases_of(options):
            found = []
            for one in measure_case(case, Path(folder), options.repeat, options.peers):
                save(one)
                found.append(one)
                print(one, file=sys.stderr, flush=True)
            records += found
            print("\n".join(lines_of(found)), flush=True)
    print("", *memory_lines(records), *machine_lines(here, records), sep="\n")


if __name__ == "__main__":
    main()
