"""How much memory a runtime takes to run a model, measured in a process of its own.

`python -m secateur.cost.memory FILE RUNTIME BATCH THREADS` prints the bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from secateur.cost.race import random_rows
from secateur.cost.runtimes import check_runtime, open_runner
from secateur.errors import ModelError

_STATUS = Path("/proc/self/status")


def peak_memory(
    path: str | Path, runtime: str = "onnxruntime", *, batch: int = 1, threads: int = 1
) -> int | None:
    """Return the bytes that opening a file and running a batch of random rows takes at most.

    A fresh process loads the runtime, then opens the file and runs it three times. What counts is
    the most memory that it ever held, less what it held before it opened the file.

    Args:
        path: what the runtime opens.
        runtime: `onnxruntime`, `openvino` or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.

    Returns:
        The bytes; None where the system does not tell (it is Linux that does).

    Raises:
        ModelError: the runtime cannot run the file.
    """
    if not _STATUS.exists():
        return None
    words = [sys.executable, "-P", "-m", "secateur.cost.memory", path, runtime, batch, threads]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, errors="replace", check=False
    )
    told = done.stdout.split()
    if done.returncode or not told:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ModelError(
            f"the memory to run it was not measured: {said[-1][:200] if said else 'it crashed'}",
            where=path,
        )
    return int(told[-1])


def _main(path: str, runtime: str, batch: str, threads: str) -> None:
    check_runtime(runtime)
    # The peak so far is that of the imports; 5 makes it what is held now.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _held("VmRSS")
    runner = open_runner(path, runtime, int(threads))
    rng = np.random.default_rng(0)
    feed = {each.name: random_rows(each, int(batch), rng) for each in runner.inputs}
    for _ in range(3):
        runner.run(feed)
    print(max(0, _held("VmHWM") - before))


def _held(key: str) -> int:
    """Return a figure of the kernel, given in KiB, in bytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{os.fspath(_STATUS)} has no {key}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
