"""The one place that prints: results to the standard output, all else to the standard error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

# All but tab and newline.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def result(text: str) -> None:
    """Print a result as it is."""
    _out().print(_plain(text), soft_wrap=True)


def say(text: str) -> None:
    """Tell what is going on."""
    _err().print(_plain(text), soft_wrap=True)


def notes(lines: Iterable[str]) -> None:
    """Tell what was done beside what was asked for, one line each."""
    for line in lines:
        say(f"note: {line}")


def fail(text: str, mend: str | None = None) -> None:
    """Tell what is wrong, and what to do about it, in one line."""
    line = Text("error: ", style="bold red").append(_plain(text).plain, style="not bold default")
    if mend:
        line.append(f" {_plain(mend).plain}", style="not bold cyan")
    _err().print(line, soft_wrap=True, highlight=False)


def as_json(value: Any) -> None:
    """Print a value as JSON, and nothing beside it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    print(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return a value as JSON can say it, which has no NaN: what is no number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; columns of numbers stand to the right."""
    kept = [["" if cell is None else str(cell) for cell in row] for row in rows]
    named = _plain(title)
    named.stylize("bold")
    drawn = Table(title=named, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        cells = [row[index] for row in kept if row[index]]
        numbers = bool(cells) and all(cell[:1].isdigit() for cell in cells)
        drawn.add_column(
            _plain(column),
            justify="right" if numbers else "left",
            no_wrap=numbers,
            overflow="fold",
            header_style="dim",
        )
    for row in kept:
        drawn.add_row(*map(_plain, row))
    _out().print(drawn)


def _plain(text: str) -> Text:
    """Return a text without markup, and without what a terminal would take for a command.

    Names come from files that others made.
    """
    return Text(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text))


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show that something is under way, while nothing else is shown."""
    console = _err()
    if not console.is_terminal:
        yield
        return
    with console.status(_plain(text)):
        yield


@contextmanager
def counting(*columns: ProgressColumn | str) -> Iterator[Progress]:
    """Show a line that counts, in a terminal; elsewhere nothing."""
    console = _err()
    with Progress(
        SpinnerColumn(),
        *(TextColumn(each) if isinstance(each, str) else each for each in columns),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        yield progress


def passed_over(found: Mapping[str, int]) -> None:
    """Tell of files that lie beside the data and are none, by their ending."""
    if found:
        some = ", ".join(f"{ending} ({count:,})" for ending, count in found.items())
        result(f"files that are no data: {some}")


# Made anew each time: tests and notebooks exchange the streams.
def _out() -> Console:
    return Console()


def _err() -> Console:
    return Console(stderr=True)
