"""`report`: a run as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from secateur.files import write_whole
from secateur.reporting.anatomy import group_rows, layer_rows, trainings
from secateur.reporting.bars import skyline, stacked
from secateur.reporting.mistakes import cards, mistakes
from secateur.reporting.overview import plots, search_plot, settings, stage_table, tiles
from secateur.reporting.record import FILE_NAME, Run
from secateur.reporting.rendering import digest, environment, file_text
from secateur.reporting.robust import changed
from secateur.reporting.sensitivity import sensitivity_rows
from secateur.reporting.verdict import compare, conditions, headline, lead, remarks
from secateur.reporting.wiring import wiring

PAGE_NAME = "report.html"


def report(run_or_folder: Run | str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run as one HTML file and return its path.

    The file needs no network and no other file: styles, drawings and pictures are inside it.

    Args:
        run_or_folder: a `Run`, the folder that `secateur run` wrote, or its `run.json`.
        out: the file to write, or a folder for `report.html`; by default the run's folder, and
            the current folder for a `Run` that came from none. What stands there is replaced.

    Raises:
        ArtifactError: the folder holds no record of a run, or a damaged one.
        OutputError: the page cannot be written.
    """
    if isinstance(run_or_folder, Run):
        run, home = run_or_folder, Path()
    else:
        path = Path(run_or_folder)
        run, home = Run.load(path), path.parent if path.name == FILE_NAME else path
    target = home if out is None else Path(out)
    if target.is_dir():
        target = target / PAGE_NAME
    return write_whole(target, render(run))


def render(run: Run) -> str:
    """Return the whole page as text."""
    seen = compare(run)
    script = file_text("common.js") + file_text("report.js")
    cut, left = group_rows(run.groups)
    shown = {
        "headline": headline(run),
        "lead": lead(run),
        "remarks": remarks(run),
        "tiles": tiles(seen),
        "plots": plots(run, seen),
        "search": search_plot(run),
        "better": "Down" if seen.quality[0] == "MAE" else "Up",
        "stages": stage_table(run),
        "timing": _timing(run),
        "skyline": skyline([(one.layer, one.before, one.after) for one in run.layers]),
        "wiring": wiring(run.network),
        "layers": layer_rows(run.layers),
        "groups_cut": cut,
        "groups_left": left,
        "sensitivity": sensitivity_rows(run.sensitivity),
        "trainings": trainings(run.curves),
        "changed": changed(run),
        "mistakes": mistakes(run, seen),
        "cards": cards(run),
        "splits": stacked(list(run.data.rows.items())) if run.data and run.data.rows else None,
        "style": Markup(file_text("report.css")),
        "script": Markup(script),
        "script_hash": digest(script),
    }
    page = environment().get_template("report.html.j2")
    return page.render(run=run, sections=_sections(run, shown), **shown)


def _sections(run: Run, shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name the parts that this page has, in order: what a run does not have is left out whole."""
    wrong = shown["mistakes"]
    parts = (
        ("warnings", "Know this first", run.warnings or shown["remarks"]),
        ("asked", "What was asked", run.asked),
        ("result", "What came out", shown["tiles"]),
        ("stages", "Every stage", run.stages),
        ("notes", "Notes", run.notes),
        ("layers", "Layer by layer", run.layers),
        ("cuts", "What was cut", run.groups),
        ("sensitivity", "What matters", run.sensitivity),
        ("training", "Training", shown["trainings"]),
        ("robustness", "Changed for whom", shown["changed"]),
        ("mistakes", "Right and wrong", wrong.matrices or wrong.classes or wrong.confused),
        ("samples", "Samples", shown["cards"]),
        ("data", "The data", run.data),
        ("again", "Do it again", run.recipe or run.command),
        ("environment", "Where it ran", run.environment),
    )
    return [(key, title) for key, title, content in parts if content]


def _timing(run: Run) -> str:
    """Say how the latencies of the table were taken, where all were taken alike."""
    taken = [latency for stage in run.stages for latency in stage.latencies]
    if not taken:
        return "No latency was measured."
    words = "Latency is the median over a whole batch; p95 is the 95th percentile."
    if len({(one[0], one[2]) for one in settings(run)}) == 1:
        words += f" Taken with {conditions(taken[0])}."
    return words
