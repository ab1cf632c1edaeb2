"""Counting and timing: parameters, multiply-adds and bytes are counted, latency is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.cost.cost import Cost
from secateur.cost.race import race
from secateur.cost.runtimes import check_runtime, write_for
from secateur.graph.trace import trace

if TYPE_CHECKING:
    import keras


def measure(
    model: keras.Model,
    *,
    runtime: str | None = None,
    batches: Sequence[int] = (1, 32),
    threads: int = 1,
) -> Cost:
    """Return what a model costs.

    Args:
        model: a built functional or Sequential model; it is untouched.
        runtime: `onnxruntime`, `openvino` or `litert` to measure latency on the exported model as
            well; `None` to count.
        batches: the batch sizes to measure at.
        threads: the threads that one call may use.

    Raises:
        ModelError: the model cannot be traced or exported, or the runtime is not known.
        MissingExtraError: the runtime is not installed.
    """
    if runtime is not None:
        check_runtime(runtime)
    graph = trace(model)
    size = sum(int(np.prod(w.shape)) * np.dtype(_storage(w.dtype)).itemsize for w in model.weights)
    cost = Cost(parameters=graph.parameters(), macs=graph.macs(), bytes=size)
    if runtime is None:
        return cost
    with tempfile.TemporaryDirectory() as folder:
        path = write_for(model, runtime, Path(folder))
        length = graph.open_length or 1
        latencies = [
            race(
                {"model": path},
                batch=batch,
                threads=threads,
                open_length=length,
                runtime=runtime,
            )["model"]
            for batch in batches
        ]
    return cost.model_copy(update={"latencies": tuple(latencies)})


def _storage(dtype: str) -> str:
    return "float16" if dtype == "bfloat16" else dtype
