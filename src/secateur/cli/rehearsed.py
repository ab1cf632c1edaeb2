"""`--dry-run` of the commands that train: what they would do, in lines or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.cli import out as sink

if TYPE_CHECKING:
    from secateur.job.rehearsed import Beginning
    from secateur.recipe.recipe import Recipe


def rehearse_run(recipe: Recipe, folder: Path, *, resume: bool, quiet: bool, json: bool) -> None:
    """Tell what a run would do."""
    from secateur.job.rehearsal import rehearse

    found = rehearse(recipe, folder, resume=resume, progress=None if quiet else sink.say)
    if json:
        sink.as_json(found)
        return
    _model(found)
    todo = ["train", *found.steps] if found.train else list(found.steps)
    places = ["baseline", *(f"step {number}" for number in range(1, len(found.steps) + 1))]
    for place, each in zip(places if found.train else places[1:], todo, strict=True):
        before = "   (done before)" if place in found.done else ""
        sink.result(f"{place:<10} {each}{before}")
    _end(folder)


def rehearse_explore(
    recipe: Recipe, folder: Path, *, trials: int | None, quiet: bool, json: bool
) -> None:
    """Tell what a search would choose from, and how often."""
    from secateur.job.rehearsal import rehearse_explore as rehearse

    found = rehearse(recipe, folder, trials=trials, progress=None if quiet else sink.say)
    if json:
        sink.as_json(found)
        return
    _model(found)
    if found.train:
        sink.result("baseline   train")
    for number, words in enumerate(found.steps, start=1):
        sink.result(f"{f'step {number}':<10} {words}")
    chosen = ", ".join(each.name for each in found.choices)
    sink.result(f"choose     {chosen}, by {', '.join(found.objectives)} on the validation rows")
    before = f", {found.tried:,} of them done before" if found.tried else ""
    sink.result(f"try        {found.trials:,} trials{before}")
    _end(folder)


def rehearse_compare(
    recipe: Recipe, folder: Path, *, jobs: int | None, quiet: bool, json: bool
) -> None:
    """Tell which contenders would run, and how often."""
    from secateur.job.rehearsal import rehearse_compare as rehearse

    found = rehearse(recipe, folder, jobs=jobs, progress=None if quiet else sink.say)
    if json:
        sink.as_json(found)
        return
    _model(found)
    if found.train:
        sink.result("baseline   train")
    rows = [
        (each.name, str(each.epochs), f"{len(each.done)} of {len(found.seeds)}", each.steps)
        for each in found.contenders
    ]
    seeds, runtimes = ", ".join(map(str, found.seeds)), ", ".join(found.runtimes)
    runs = len(found.contenders) * len(found.seeds)
    sink.table(
        f"{len(found.contenders)} contenders x {len(found.seeds)} seeds ({seeds}) = {runs} runs, "
        f"{found.jobs} at once, measured in {runtimes}",
        ("contender", "epochs", "done", "steps"),
        rows,
    )
    _end(folder)


def _model(found: Beginning) -> None:
    model = f"{found.parameters:,} parameters, {found.macs:,} MACs a sample"
    sink.result(f"model      {model}; {found.prunable:,} of {found.units:,} units may go")


def _end(folder: Path) -> None:
    sink.result(f"nothing was written; without --dry-run it goes to {folder}")
