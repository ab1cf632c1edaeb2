"""Which runtime, how many rows a call and how many threads are fastest is measured, not guessed.

The first rows of the data go through the model in every way that is tried, in turn, so that a busy
machine slows all of them alike. What is usual stays unless another way is clearly faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from secateur.data.encode import encode
from secateur.data.faults import check
from secateur.data.images import load_image
from secateur.data.sources import Block
from secateur.errors import DataError, SecateurError
from secateur.formats.predictor import Predictor
from secateur.formats.runners import RUNTIMES, check_runtime
from secateur.scoring.pieces import Piece
from secateur.scoring.scorer import Files, Members, Scorer, usual_chunk
from secateur.scoring.tally import Trial

# What a scorer reads a piece in.
Some = Block | Files | Members

# A way that is not so much faster than the usual one is not worth other last digits.
CLEARLY = 1.1
# Fewer threads are enough where they are nearly as fast.
NEARLY = 0.95
_SECONDS = 0.15
_ROWS = 8192
_LEAST_ROWS = 64


class Setup(NamedTuple):
    """How a job is run: `chunk` is None for the usual rows a call."""

    runtime: str
    chunk: int | None
    threads: int
    tried: tuple[Trial, ...] = ()


def choose(scorer: Scorer, pieces: Sequence[Piece], *, threads: int | None, cores: int) -> Setup:
    """Measure on the first rows of the data, and choose.

    Args:
        scorer: the model on ONNX Runtime.
        pieces: the data.
        threads: how many threads to use, where that is given.
        cores: how many there are.

    Returns:
        The usual way where there are too few rows to measure.
    """
    usual = usual_chunk(scorer.contract)
    found = _first(scorer, pieces)
    if found is None:
        return Setup("onnxruntime", None, threads or cores)
    piece, block, inputs = found
    rows = len(next(iter(inputs.values())))
    chunks = sorted({chunk for chunk in (usual // 4, usual, 4 * usual) if 1 <= chunk <= rows})
    ways = {
        (runtime, chunk): predictor
        for runtime in RUNTIMES
        for chunk in (chunks or [usual])
        if (predictor := _opened(scorer, runtime, chunk)) is not None
    }
    rates = _race({way: _calls(predictor, inputs, way[1]) for way, predictor in ways.items()}, rows)
    if not rates:
        return Setup("onnxruntime", None, threads or cores)
    trials = [Trial(runtime=r, chunk=c, rows_per_second=round(v, 1)) for (r, c), v in rates.items()]
    best = max(rates, key=lambda way: rates[way])
    base = ("onnxruntime", usual if ("onnxruntime", usual) in rates else chunks[-1])
    if rates[best] < CLEARLY * rates[base]:
        best = base
    runtime, chunk = best
    if threads is None:
        chosen = replace(scorer, predictor=ways[best], chunk_rows=chunk)
        speeds = _by_threads(chosen, piece, block, cores)
        trials += [
            Trial(runtime=runtime, chunk=chunk, threads=n, rows_per_second=round(v, 1))
            for n, v in speeds.items()
        ]
        threads = min(n for n, v in speeds.items() if v >= NEARLY * max(speeds.values()))
    return Setup(runtime, None if best == base else chunk, threads, tuple(trials))


def _first(
    scorer: Scorer, pieces: Sequence[Piece]
) -> tuple[Piece, Some, dict[str, np.ndarray]] | None:
    """Return the first block that has rows enough, and its good rows as the model's input."""
    for piece in islice(pieces, 3):
        try:
            for block in islice(scorer.blocks(piece), 3):
                inputs = _inputs(scorer, piece, block)
                if inputs and len(next(iter(inputs.values()))) >= _LEAST_ROWS:
                    return piece, block, inputs
        except (DataError, pa.ArrowException):
            continue  # said where the rows are scored
    return None


def _inputs(scorer: Scorer, piece: Piece, block: Some) -> dict[str, np.ndarray]:
    contract = scorer.contract
    if isinstance(block, (Files, Members)):
        assert contract.image is not None
        files: list[Any] = [piece.part.home / name for name in piece.part.files]
        if isinstance(block, Members):
            files = [each.image for each in block.samples if each.image is not None]
        good = []
        for file in files[:_LEAST_ROWS]:
            try:
                good.append(load_image(file, contract.image))
            except DataError:
                continue
        # Photos take long to decode; the model is as fast on the same ones again.
        return {"image": np.resize(np.stack(good), (_LEAST_ROWS, *good[0].shape))} if good else {}
    rows = block.table.slice(0, _ROWS)
    x = encode(contract, rows.filter(check(contract, rows).good))
    return x if isinstance(x, dict) else {next(iter(contract.inputs())): x}


def _opened(scorer: Scorer, runtime: str, chunk: int) -> Predictor | None:
    artifact = scorer.predictor.artifact
    grids = artifact.quantization
    if runtime == "openvino" and grids is not None and grids.mode == "dynamic":
        # It gains nothing there, and versions of OpenVINO have ended the process on such files.
        return None
    try:
        check_runtime(runtime)
        return Predictor(artifact, runtime=runtime, rows=chunk)
    except SecateurError:
        return None  # not installed, or not for this model


def _calls(
    predictor: Predictor, inputs: Mapping[str, np.ndarray], chunk: int
) -> Callable[[], object]:
    rows = len(next(iter(inputs.values())))

    def run() -> None:
        for start in range(0, rows - rows % chunk or rows, chunk):
            predictor.predict({n: a[start : start + chunk] for n, a in inputs.items()})

    return run


def _race(ways: Mapping[tuple[str, int], Callable[[], object]], rows: int) -> dict:
    """Return the rows a second of each way: of its fastest run, which others disturbed least."""
    best: dict[tuple[str, int], float] = {}
    for way, run in ways.items():
        try:
            run()
            best[way] = np.inf
        except SecateurError:
            continue
    end = time.perf_counter() + _SECONDS * len(best)
    while time.perf_counter() < end or np.inf in best.values():
        for way in best:
            began = time.perf_counter()
            ways[way]()
            best[way] = min(best[way], time.perf_counter() - began)
    whole = {way: rows - rows % way[1] or rows for way in best}
    return {way: whole[way] / seconds for way, seconds in best.items()}


def _by_threads(scorer: Scorer, piece: Piece, block: Some, cores: int) -> dict[int, float]:
    """Return the rows a second of all the work on blocks, for 1, 2, 4 ... threads."""
    counts = sorted({1, cores, *(2**k for k in range(1, cores.bit_length()))} - {0})
    speeds: dict[int, float] = {}
    for threads in (n for n in counts if n <= cores):
        with ThreadPoolExecutor(threads) as pool:
            jobs = [(piece, block)] * threads
            list(pool.map(lambda job: scorer.score(*job), jobs))
            rows, began = 0, time.perf_counter()
            while time.perf_counter() - began < 2 * _SECONDS:
                rows += sum(done.rows for done in pool.map(lambda job: scorer.score(*job), jobs))
            speeds[threads] = rows / (time.perf_counter() - began)
    return speeds
