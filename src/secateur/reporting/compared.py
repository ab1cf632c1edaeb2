"""`page`: a comparison as one HTML file that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from secateur.files import write_whole
from secateur.reporting import units
from secateur.reporting.bars import stacked
from secateur.reporting.comparison import Comparison
from secateur.reporting.pareto import panels
from secateur.reporting.rendering import digest, environment, file_text
from secateur.reporting.standings import (
    RUNTIMES,
    about_failures,
    headline,
    leading_runtime,
    standings,
)

PAGE_NAME = "compare.html"


def page(made: Comparison, folder: str | Path) -> Path:
    """Write the page of a comparison into a folder, and return its path.

    The file needs no network and no other file: styles, drawings and the script are inside it.

    Raises:
        OutputError: the page cannot be written.
    """
    return write_whole(Path(folder) / PAGE_NAME, render(made))


def render(made: Comparison) -> str:
    """Return the whole page as text."""
    script = file_text("common.js")
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            made=made,
            headline=headline(made),
            lead=_lead(made),
            panels=panels(made),
            table=standings(made),
            about=_about(made),
            failures=about_failures(made),
            notes=_notes(made),
            splits=stacked(list(made.data.rows.items())) if made.data and made.data.rows else None,
            run=made,
            style=Markup(file_text("report.css") + file_text("compare.css")),
            script=Markup(script),
            script_hash=digest(script),
        )
    )


def _lead(made: Comparison) -> str:
    through, all_ = len(made.came_through), len(made.entrants)
    seeds = max((len(each.trials) for each in made.entrants), default=0)
    words = f"{units.plural(all_, 'contender')} from the same trained model and the same data"
    words += f", {units.plural(seeds, 'seed')} each."
    if through < all_:
        words += f" {units.plural(all_ - through, 'contender')} did not come through."
    return words


def _about(made: Comparison) -> str:
    lead = RUNTIMES[leading_runtime(made)]
    words = (
        "Mean over the seeds. Quality is that of the exported files on the test rows, size that of "
        f"the file; both for {lead} where nothing else is said. Speed says how many times as fast "
        "a batch is as in the exported baseline, whose calls were made in turn with those of all "
        f"contenders, on {units.plural(made.threads, 'thread')}: by the 25th percentiles; "
        "beneath is the median. "
    )
    if made.memory_batch is not None:
        words += (
            "Memory is the most that a fresh process held while it opened the file and ran batches "
            f"of {units.whole(made.memory_batch)}, less what it held with the runtime alone."
        )
    return words.strip()


def _notes(made: Comparison) -> list[tuple[str, list[str]]]:
    """Return what each contender's steps say of themselves, with its first seed."""
    return [
        (f"{each.name}, seed {trial.seed}", list(trial.notes))
        for each in made.entrants
        for trial in each.trials[:1]
        if trial.notes
    ]
