"""What `secateur compare --json` prints of a comparison."""

from __future__ import annotations

from pathlib import Path

from secateur.cli.told import CompareTold, ContenderTold, TimeTold
from secateur.reporting import comparison as figures
from secateur.reporting.comparison import Comparison, Entrant, Spread
from secateur.reporting.standings import headline, leading_runtime


def told(made: Comparison, folder: Path) -> CompareTold:
    """Return the figures of a comparison; those of files are of the runtime that leads the page."""
    return CompareTold(
        name=made.name,
        folder=str(folder),
        page=str(folder / "compare.html"),
        record=str(folder / figures.FILE_NAME),
        headline=headline(made),
        measure=figures.quality_name(made),
        contenders=tuple(_contender(made, each) for each in (made.baseline, *made.entrants)),
    )


def _contender(made: Comparison, entrant: Entrant) -> ContenderTold:
    lead = leading_runtime(made)
    times = (
        (runtime, batch, figures.time_left(entrant, runtime, batch))
        for runtime in made.runtimes
        for batch in made.batches
    )
    return ContenderTold(
        name=entrant.name,
        steps=entrant.steps,
        seeds=len(entrant.through),
        quality=_mean(figures.quality(entrant, lead, figures.quality_name(made))),
        parameters=_mean(figures.over_seeds(entrant, lambda trial: trial.parameters)),
        macs=_mean(figures.over_seeds(entrant, lambda trial: trial.macs)),
        bytes=_mean(figures.file_figure(entrant, lead, "bytes")),
        times=tuple(
            TimeTold(runtime=runtime, batch=batch, left=left.mean)
            for runtime, batch, left in times
            if left is not None
        ),
        failures=entrant.failures,
    )


def _mean(of: Spread | None) -> float | None:
    return None if of is None else of.mean
