"""Timing models against each other, in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.cost.cost import Latency
from secateur.errors import ModelError
from secateur.formats.predictor import open_session


def race(
    paths: Mapping[str, Path],
    *,
    batch: int,
    threads: int = 1,
    seconds: float = 2.0,
    least: int = 20,
    seed: int = 0,
    open_length: int = 64,
) -> dict[str, Latency]:
    """Time ONNX models side by side in ONNX Runtime, one call of each in turn.

    Args:
        paths: ONNX files by name.
        batch: the rows of one call.
        threads: the threads that one call may use.
        seconds: how long to go on, for all models together.
        least: the fewest timed calls of each, however long they take.
        seed: for the random inputs.
        open_length: stands in for lengths that a model leaves open (image size, time steps).

    Returns:
        For each name, median and 95th percentile of its calls.

    Raises:
        ModelError: ONNX Runtime cannot run one of them.
    """
    rng = np.random.default_rng(seed)
    runners = {
        name: _Runner(Path(path), batch, threads, rng, open_length) for name, path in paths.items()
    }
    for name, runner in runners.items():
        try:
            for _ in range(3):
                runner.run()
        except Exception as error:
            # ONNX Runtime has no kinds of errors of its own that are public.
            raise ModelError(
                f"ONNX Runtime cannot run the model: {str(error).splitlines()[0][:200]}",
                where=name,
                mend="Check it with inputs of your own, or leave the timing out (--no-latency).",
            ) from error
    times: dict[str, list[float]] = {name: [] for name in runners}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < least or time.perf_counter() < end:
        for name, runner in runners.items():
            times[name].append(runner.run())
        rounds += 1
    return {
        name: Latency(
            runtime="onnxruntime",
            batch=batch,
            threads=threads,
            median_ms=float(np.median(taken)) * 1000,
            p95_ms=float(np.percentile(taken, 95)) * 1000,
            runs=len(taken),
        )
        for name, taken in times.items()
    }


class _Runner:
    """One model with inputs made for it."""

    def __init__(
        self, path: Path, batch: int, threads: int, rng: np.random.Generator, open_length: int
    ):
        self._session = open_session(path, threads=threads)
        self._feed = {
            i.name: _random(i, batch, rng, open_length) for i in self._session.get_inputs()
        }

    def run(self) -> float:
        """Return the seconds that one call takes."""
        start = time.perf_counter()
        self._session.run(None, self._feed)
        return time.perf_counter() - start


def _random(spec: Any, batch: int, rng: np.random.Generator, open_length: int) -> np.ndarray:
    shape = (batch, *(n if isinstance(n, int) else open_length for n in spec.shape[1:]))
    if spec.type == "tensor(uint8)":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if spec.type in ("tensor(int32)", "tensor(int64)"):
        # Code zero is in every vocabulary.
        return np.zeros(shape, np.int32 if spec.type == "tensor(int32)" else np.int64)
    return rng.normal(size=shape).astype(np.float32)
