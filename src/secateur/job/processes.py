"""Orders of a comparison, each done by a process of its own, some of them at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from secateur.files import write_whole
from secateur.job.contender import LOG, ORDER, OUTCOME, Order, outcome_of
from secateur.machine import cores
from secateur.reporting.comparison import Trial


def carry_out(
    orders: Sequence[Order], at_once: int, done: Callable[[Order, Trial], None]
) -> dict[str, list[Trial]]:
    """Carry out orders, each in a process; return the trials of each name, in order.

    What was finished before is not done again; what failed is. An order that fails, or whose
    process dies, is told in its trial and stops no other. Should this process end, its children do.

    Args:
        orders: what is to be done.
        at_once: how many processes run at the same time; they share the cores.
        done: told of each order as it ends.
    """
    trials = {id(order): trial for order in orders if (trial := _finished(order))}
    waiting = [order for order in orders if id(order) not in trials]
    running: list[tuple[Order, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                order = waiting.pop(0)
                running.append((order, _started(order, max(1, cores() // at_once))))
            time.sleep(0.1)
            for order, process in [pair for pair in running if pair[1].poll() is not None]:
                running.remove((order, process))
                _close(process)
                trials[id(order)] = outcome_of(order) or _dead(order, process.returncode)
                done(order, trials[id(order)])
    finally:
        for _, process in running:
            process.kill()
            _close(process)
    found: dict[str, list[Trial]] = {}
    for order in orders:
        found.setdefault(order.name, []).append(trials[id(order)])
    return found


def _finished(order: Order) -> Trial | None:
    trial = outcome_of(order)
    return None if trial is None or trial.failure else trial


def _started(order: Order, threads: int) -> subprocess.Popen[bytes]:
    """Start the process of an order; what an older one left is out of the way."""
    (order.folder / OUTCOME).unlink(missing_ok=True)
    shutil.rmtree(order.folder / "exported", ignore_errors=True)
    write_whole(order.folder / ORDER, order.model_dump_json(indent=1))
    share = {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    defaults = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", **share}
    with (order.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "secateur.job.contender", str(order.folder)],
            env={**defaults, **os.environ},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _close(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _dead(order: Order, code: int) -> Trial:
    """Return the trial of a process that ended before it could say why."""
    how = f"it left with exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            how = f"it was ended by {name}"
            how += ", as a system does that runs out of memory" if name == "SIGKILL" else ""
    log = order.folder / LOG
    return Trial(
        seed=order.seed,
        folder=order.folder.relative_to(order.out).as_posix(),
        failure=f"the process died: {how}; see {log}.",
    )
