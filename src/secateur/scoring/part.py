"""One part, done as a whole: the function that every engine runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from secateur.errors import DataError
from secateur.scoring.answers import Bad, bad_table
from secateur.scoring.ledger import Entry, part_path, quarantine_path
from secateur.scoring.pieces import Piece
from secateur.scoring.scorer import Scorer
from secateur.scoring.sink import Sink

_I = TypeVar("_I")
_O = TypeVar("_O")


class StoppedError(Exception):
    """Another part failed, or the user stopped the job: this part is left undone."""


@dataclass(frozen=True)
class Helpers:
    """Threads that have no part of their own, and how many blocks to read ahead for them."""

    executor: Executor
    ahead: int


def score_part(
    scorer: Scorer,
    out: Path,
    number: int,
    piece: Piece,
    *,
    stop: threading.Event,
    seen: Callable[[int], None],
    helpers: Helpers | None = None,
) -> Entry:
    """Score a piece into the files of part `number`, and return what to write into the ledger.

    A piece that cannot be read to its end is quarantined as a whole.

    Args:
        scorer: the model.
        out: the output folder.
        number: the number in the names of the files.
        piece: what to score.
        stop: once set, the part is given up and leaves no file.
        seen: called with the number of rows of each block that is done.
        helpers: other threads that may score blocks of this piece.

    Raises:
        OutputError: the files cannot be written.
        StoppedError: `stop` was set.
    """
    try:
        return _score(scorer, out, number, piece, stop, seen, helpers)
    except DataError as error:
        return _quarantine(out, number, piece, error)


def _score(
    scorer: Scorer,
    out: Path,
    number: int,
    piece: Piece,
    stop: threading.Event,
    seen: Callable[[int], None],
    helpers: Helpers | None,
) -> Entry:
    # Of what is about to be read: a file that is exchanged meanwhile has another one afterwards.
    rows, stamp = 0, piece.stamp
    with (
        Sink(part_path(out, number), scorer.compression) as scores,
        Sink(quarantine_path(out, number), scorer.compression) as bad,
    ):
        blocks = scorer.blocks(piece)
        for scored in _in_order(lambda block: scorer.score(piece, block), blocks, helpers):
            if stop.is_set():
                raise StoppedError
            if scored.scores is not None:
                scores.write(scored.scores)
            if scored.bad:
                bad.write(bad_table(scored.bad))
            rows += scored.rows
            seen(scored.rows)
    return Entry(
        number=number,
        source=piece.part.path,
        first=piece.first,
        stamp=stamp,
        rows=rows,
        scored=scores.rows,
        quarantined=bad.rows,
        bytes=scores.bytes,
        quarantine_bytes=bad.bytes,
    )


def _quarantine(out: Path, number: int, piece: Piece, error: DataError) -> Entry:
    """Write a piece that cannot be read into quarantine, as one line."""
    rows = piece.rows or 0
    what = "" if piece.groups is None else f"rows {piece.first} to {piece.first + rows - 1}: "
    line = Bad(piece.part.path, None, f"{what}{error.what}", rows=rows)
    with Sink(quarantine_path(out, number)) as bad:
        bad.write(bad_table([line]))
    return Entry(
        number=number,
        source=piece.part.path,
        first=piece.first,
        stamp=piece.stamp,
        rows=rows,
        scored=0,
        quarantined=rows,
        unread=True,
        quarantine_bytes=bad.bytes,
    )


def _in_order(
    work: Callable[[_I], _O], items: Iterable[_I], helpers: Helpers | None
) -> Iterator[_O]:
    """Do `work` on each item, with help where there is some, and yield results in order."""
    if helpers is None:
        yield from map(work, items)
        return
    waiting: deque[Future[_O]] = deque()
    try:
        for item in items:
            waiting.append(helpers.executor.submit(work, item))
            if len(waiting) > helpers.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
