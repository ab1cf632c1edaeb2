"""`secateur score`: any amount of raw data through an artifact, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TaskID

from secateur.cli import out as sink
from secateur.errors import SecateurError


def score(
    artifact: Annotated[Path, typer.Argument(help="The exported model.", metavar="ARTIFACT")],
    data: Annotated[
        str,
        typer.Argument(
            help="A CSV, Parquet or Arrow file, a folder of such files or of images, or a glob.",
            metavar="DATA",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The folder for the scores.", metavar="SCORED")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="A column to carry over to the scores. Repeatable."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Cores to use; all by default.")
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option("--batch-rows", min=1, help="Rows that are read at a time.")
    ] = None,
    max_bad: Annotated[
        str | None,
        typer.Option(
            "--max-bad",
            help="Leave with exit code 3 where more rows than this are bad: 1% or 0.01.",
            metavar="SHARE",
        ),
    ] = None,
    all_probabilities: Annotated[
        bool, typer.Option("--all-probabilities", help="Write the probability of every class.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the tally as JSON.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Count the parts and try the first rows; write nothing."),
    ] = False,
) -> None:
    """Score raw data into Parquet files; bad rows go to SCORED/quarantine with their reason.

    A job that was stopped goes on where it stood when the same command is given again.
    """
    if dry_run:
        from secateur.cli.rehearsal import rehearse_scoring

        rehearse_scoring(artifact, data, out, keys=key, json=json)
        return
    from secateur.scoring.score import score as score_data

    share = None if max_bad is None else _share(max_bad)
    columns = (
        "{task.description}",
        "{task.fields[rows]:,} rows",
        "{task.fields[parts]} of {task.fields[all]} parts",
        "{task.fields[speed]:,.0f} rows/s",
        "{task.fields[left]}",
    )
    with sink.counting(*columns) as progress:
        task = progress.add_task("scoring", rows=0, parts=0, all=0, speed=0.0, left="", total=None)
        try:
            tally = score_data(
                artifact,
                data,
                out,
                keys=key or None,
                threads=threads,
                batch_rows=batch_rows,
                max_bad=share,
                probability="all" if all_probabilities else True,
                progress=_Meter(progress, task),
            )
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("Give the same command again to go on from here.")
            raise
    if json:
        sink.as_json(tally.model_dump(mode="json"))
        return
    sink.result(tally.summary())
    if tally.quarantined or tally.unread:
        sink.result(f"reasons: {out / 'quarantine'}")


class _Meter:
    """Turns counts into a line with speed and time left, of what was done since the start alone."""

    def __init__(self, progress: object, task: TaskID):
        import time

        from secateur.cli.left import TimeLeft

        self._clock = time.perf_counter
        self._progress = progress
        self._task = task
        self._start: float | None = None
        self._first = 0
        self._left = TimeLeft()

    def __call__(self, rows: int, parts: int, all_parts: int) -> None:
        if self._start is None:
            self._start, self._first = self._clock(), rows
        seconds = self._clock() - self._start
        speed = (rows - self._first) / seconds if seconds > 0 else 0.0
        update = self._progress.update  # type: ignore[attr-defined]
        left = self._left.told(parts, all_parts)
        update(self._task, rows=rows, parts=parts, all=all_parts, speed=speed, left=left)


def _share(text: str) -> float:
    """Read "1%" or "0.01"."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SecateurError(
            f"{text!r} is not a share of the rows.", where="--max-bad", mend="Write 1% or 0.01."
        )
    return share
