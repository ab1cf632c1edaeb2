"""`secateur report`: the page of a run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write; RUN/report.html by default."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print where it is as JSON.")] = False,
) -> None:
    """Write the report of a run again, from its record: one HTML file that needs nothing else."""
    from secateur.reporting.report import report as write

    written = str(write(folder, out))
    if json:
        from secateur.cli.told import ReportTold

        sink.as_json(ReportTold(report=written))
    else:
        sink.result(written)
