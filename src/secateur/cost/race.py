"""Timing models against each other, in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from secateur.cost.cost import Latency
from secateur.cost.runtimes import TITLE, Input, first_line, open_runner
from secateur.errors import ModelError


def race(
    paths: Mapping[str, Path],
    *,
    batch: int,
    threads: int = 1,
    seconds: float = 2.0,
    least: int = 20,
    seed: int = 0,
    open_length: int = 64,
    runtime: str = "onnxruntime",
    openings: int = 1,
) -> dict[str, Latency]:
    """Time exported models side by side on one runtime, one call of each in turn.

    Args:
        paths: files by name: ONNX for `onnxruntime` and `openvino`, TFLite for `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        seconds: how long to go on, for all models together.
        least: the fewest timed calls of each, however long they take.
        seed: for the random inputs.
        open_length: stands in for lengths that a model leaves open (image size, time steps).
        runtime: one of `secateur.cost.runtimes.RUNTIMES`.
        openings: how often the models are opened, each time for a part of the runs: where the
            memory of a model comes to lie makes it a few per cent faster or slower.

    Returns:
        For each name, median and percentiles of its calls.

    Raises:
        ModelError: the runtime is not known, or cannot run one of the models.
        MissingExtraError: the runtime is not installed.
    """
    rng = np.random.default_rng(seed)
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(openings):
        runners = {
            name: _Timed(Path(path), runtime, batch, threads, rng, open_length)
            for name, path in paths.items()
        }
        for name, runner in runners.items():
            _warm_up(name, runner, runtime)
        end = time.perf_counter() + seconds / openings
        rounds = 0
        while rounds * openings < least or time.perf_counter() < end:
            for name, runner in runners.items():
                times[name].append(runner.run())
            rounds += 1
    return {
        name: Latency(
            runtime=runtime,
            batch=batch,
            threads=threads,
            median_ms=float(np.median(taken)) * 1000,
            p95_ms=float(np.percentile(taken, 95)) * 1000,
            runs=len(taken),
            quiet_ms=float(np.percentile(taken, 25)) * 1000,
        )
        for name, taken in times.items()
    }


def ratio(before: Latency, after: Latency) -> float:
    """Return the share of the time that is left, of two models that were timed in turn."""
    return (after.quiet_ms or after.median_ms) / (before.quiet_ms or before.median_ms)


def _warm_up(name: str, runner: _Timed, runtime: str) -> None:
    try:
        for _ in range(3):
            runner.run()
    except Exception as error:
        # The runtimes have no kinds of errors of their own that are public.
        raise ModelError(
            f"{TITLE[runtime]} cannot run the model: {first_line(error)}",
            where=name,
            mend="Check it with inputs of your own, or leave the timing out (--no-latency).",
        ) from error


class _Timed:
    """One model with inputs made for it."""

    def __init__(
        self,
        path: Path,
        runtime: str,
        batch: int,
        threads: int,
        rng: np.random.Generator,
        open_length: int,
    ):
        self._runner = open_runner(path, runtime, threads)
        inputs = self._runner.inputs
        self._feed = {i.name: random_rows(i, batch, rng, open_length) for i in inputs}

    def run(self) -> float:
        """Return the seconds that one call takes."""
        start = time.perf_counter()
        self._runner.run(self._feed)
        return time.perf_counter() - start


def random_rows(
    spec: Input, batch: int, rng: np.random.Generator, open_length: int = 64
) -> np.ndarray:
    """Return made-up rows for an input; `open_length` stands in for lengths that it leaves open."""
    shape = (batch, *(open_length if n is None else n for n in spec.shape[1:]))
    if spec.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if spec.dtype in ("int32", "int64", "bool"):
        # Code zero is in every vocabulary.
        return np.zeros(shape, spec.dtype)
    return rng.normal(size=shape).astype(spec.dtype)
