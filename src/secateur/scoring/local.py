"""The local engine: parts side by side on the threads of this process.

Reading Parquet, NumPy and ONNX Runtime all let go of Python's lock, so threads are enough, and one
copy of the model serves them all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from secateur.scoring.ledger import Entry
from secateur.scoring.part import Helpers, StoppedError, score_part
from secateur.scoring.pieces import Piece
from secateur.scoring.scorer import Scorer

_TICK_SECONDS = 0.2


class Meter:
    """Counts the rows of parts that are done and of parts that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, int] = {}
        self._done = 0

    @property
    def rows(self) -> int:
        """All rows so far."""
        with self._lock:
            return self._done + sum(self._under_way.values())

    def seen(self, number: int, rows: int) -> None:
        """Count rows of a part that is under way."""
        with self._lock:
            self._under_way[number] = self._under_way.get(number, 0) + rows

    def finish(self, number: int, rows: int) -> None:
        """Count a part that is done."""
        with self._lock:
            self._under_way.pop(number, None)
            self._done += rows


def run_local(
    scorer: Scorer,
    out: Path,
    todo: Sequence[tuple[int, Piece]],
    *,
    threads: int,
    done: Callable[[Entry], None],
    tick: Callable[[int], None],
) -> None:
    """Score all pieces, `threads` at a time.

    Args:
        scorer: the model.
        out: the output folder.
        todo: the pieces, each with its part's number.
        threads: how many cores to use.
        done: called in this thread with each part that is done; what it raises ends the job.
        tick: called in this thread, now and then, with the number of rows so far.

    Raises:
        OutputError: the files cannot be written. Parts that are done stay done.
    """
    stop, meter = threading.Event(), Meter()
    crowd = ThreadPoolExecutor(threads, "secateur-part")
    idle = ThreadPoolExecutor(threads, "secateur-block")
    # With fewer parts than threads, the idle ones score blocks of the parts that there are.
    helpers = Helpers(idle, 2 * threads) if len(todo) < threads else None

    def score_one(number: int, piece: Piece) -> Entry:
        if stop.is_set():
            raise StoppedError
        return score_part(
            scorer,
            out,
            number,
            piece,
            stop=stop,
            seen=lambda rows: meter.seen(number, rows),
            helpers=helpers,
        )

    waiting: set[Future[Entry]] = set()
    pieces = iter(todo)
    try:
        while True:
            while len(waiting) < 2 * threads and (following := next(pieces, None)) is not None:
                waiting.add(crowd.submit(score_one, *following))
            if not waiting:
                break
            finished, waiting = wait(waiting, _TICK_SECONDS, FIRST_COMPLETED)
            for entry in sorted((f.result() for f in finished), key=lambda e: e.number):
                done(entry)
                meter.finish(entry.number, entry.rows)
            tick(meter.rows)
    finally:
        stop.set()
        crowd.shutdown(cancel_futures=True)
        idle.shutdown(cancel_futures=True)
