"""`secateur report`: the page of a run once more, or of several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink


def report(
    folders: Annotated[
        list[Path], typer.Argument(help="The folder of a run, or of several.", metavar="RUN...")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file to write; RUN/report.html, or runs.html for several."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print where it is as JSON.")] = False,
) -> None:
    """Write the report of a run again, from its record: one HTML file that needs nothing else.

    Several runs are set side by side on one page.
    """
    if len(folders) == 1:
        from secateur.reporting.report import report as write

        written = write(folders[0], out)
    else:
        from secateur.reporting.several import report_several

        written = report_several(folders, out)
    if json:
        from secateur.cli.told import ReportTold

        sink.as_json(ReportTold(report=str(written)))
    else:
        sink.result(str(written))
