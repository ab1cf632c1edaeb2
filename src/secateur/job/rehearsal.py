"""What jobs would do: recipe, data and model are checked as a job does, and nothing is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.graph.trace import trace
from secateur.job import compare, explore
from secateur.job.contender import outcome_of
from secateur.job.early import check_groups, check_trainings
from secateur.job.folder import RunFolder
from secateur.job.rehearsed import Choice, CompareRehearsal, ExploreRehearsal, Rehearsal, Rival
from secateur.job.start import Say, Start
from secateur.models.fits import check_fits
from secateur.models.load import load_model
from secateur.recipe.contenders import contenders
from secateur.recipe.ranges import AnyOf, Range
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import CompareSection
from secateur.steps.distributed import check_workers
from secateur.steps.explore import counted

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset


def told(step: Any) -> str:
    """Return a step as it would be written in Python: with what is not as it is by default."""
    default = {each.name: each.default for each in dataclasses.fields(step)}
    given = {name: getattr(step, name) for name in default}
    words = [f"{name}={value!r}" for name, value in given.items() if value != default[name]]
    return f"{type(step).__name__}({', '.join(words)})"


def most_epochs(step: Any) -> int:
    """Return for how many epochs a step trains at most."""
    each = getattr(step, "epochs", 0)
    if not hasattr(step, "rounds"):
        return each
    # Training lies between rounds; what looks for the smallest model trains each that it tries.
    between = (step.rounds - 1) * each
    return between if step.max_drop is None else step.trials * (between + each)


def rehearse(
    recipe: Recipe, out: str | Path, *, resume: bool = False, progress: Say | None = None
) -> Rehearsal:
    """Check all that a run needs, as far as that is possible without training.

    Args:
        recipe: the recipe.
        out: the folder that the run would go to.
        resume: whether it would go on with a run that was broken off.
        progress: told one line for each thing that is done.

    Raises:
        SecateurError: what the run would raise: the folder is taken, the data cannot be read, the
            model does not fit it or cannot be traced, or a value of the recipe means nothing.
    """
    folder = RunFolder(out, recipe, resume=resume)
    steps = tuple(map(told, recipe.chain))
    check_workers(recipe.chain)
    found, data = _begun(Start(recipe, folder, _say(progress), False))
    check_groups(recipe, data)
    check_trainings(recipe.chain, data)
    parts = ["baseline", *(f"step {index + 1}" for index in range(len(steps)))]
    return Rehearsal(**found, steps=steps, done=tuple(name for name in parts if folder.has(name)))


def rehearse_explore(
    recipe: Recipe, out: str | Path, *, trials: int | None = None, progress: Say | None = None
) -> ExploreRehearsal:
    """Check all that a search needs, as far as that is possible without training.

    Args:
        recipe: the recipe.
        out: the folder that the search would go to, or go on in.
        trials: how many trials there are to be; what the recipe says by default.
        progress: told one line for each thing that is done.

    Raises:
        SecateurError: what the search would raise before its first trial.
    """
    asked = explore.check(recipe)
    folder = RunFolder(out, recipe, resume=True)
    found, data = _begun(explore.ExploreStart(recipe, folder, _say(progress), False))
    study, tried = folder.path / explore.STUDY, 0
    if folder.has("baseline") and study.exists():
        model = load_model(folder.baseline)
        tried = counted(study, model, data, asked.objectives, **explore.machine(asked))
    return ExploreRehearsal(
        **_unless_done(found, folder),
        steps=recipe.space.in_words,
        choices=tuple(_choice(name, among) for name, among in recipe.space.named()),
        objectives=asked.objectives,
        trials=trials or asked.trials,
        tried=tried,
    )


def rehearse_compare(
    recipe: Recipe, out: str | Path, *, jobs: int | None = None, progress: Say | None = None
) -> CompareRehearsal:
    """Check all that a comparison needs, as far as that is possible without training.

    Args:
        recipe: the recipe.
        out: the folder that the comparison would go to, or go on in.
        jobs: how many contenders run at the same time; by default one for every four cores.
        progress: told one line for each thing that is done.

    Raises:
        SecateurError: what the comparison would raise, or what a contender would fail at before
            it begins.
    """
    section = recipe.compare or CompareSection()
    runtimes = compare.runtimes_of(section)
    asked = [(each, recipe.steps_of(each.entries)) for each in contenders(recipe)]
    for _, steps in asked:
        check_workers(steps)
    folder = RunFolder(out, recipe.start, resume=True)
    found, data = _begun(Start(recipe.start, folder, _say(progress), False))
    for _, steps in asked:
        check_trainings(steps, data)
    done: dict[str, list[int]] = {}
    for order in compare.orders_of(recipe, folder, runtimes):
        outcome = outcome_of(order)
        if outcome is not None and not outcome.failure:
            done.setdefault(order.name, []).append(order.seed)
    return CompareRehearsal(
        **_unless_done(found, folder),
        contenders=tuple(
            Rival(
                name=each.name,
                steps=each.told,
                epochs=sum(map(most_epochs, steps)),
                done=tuple(done.get(each.name, ())),
            )
            for each, steps in asked
        ),
        seeds=section.seeds,
        runtimes=runtimes,
        jobs=compare.at_once(jobs),
    )


def _begun(start: Start) -> tuple[dict[str, Any], Dataset]:
    """Return what a job would begin with, as a rehearsal tells it, and the data."""
    recipe, folder = start.recipe, start.folder
    model, loaded = start.start_model()
    data = start.read(model)
    if model is None:
        model = start.build(data)
    check_fits(model, data.contract, where=recipe.model_path)
    folder.check(data.fingerprint)
    graph = trace(model)
    groups = (*graph.groups, *graph.fixed)
    found = {
        "recipe": recipe.name,
        "folder": str(folder.path),
        "rows": {each.name: each.rows for each in (data.train, data.validation, data.test)},
        "parameters": graph.parameters(),
        "macs": graph.macs(),
        "prunable": sum(int(group.free.sum()) for group in groups),
        "units": sum(len(group) for group in groups),
        "train": not loaded or recipe.train is not None,
        "notes": (*data.notes, *start.notes),
    }
    return found, data


def _unless_done(found: dict[str, Any], folder: RunFolder) -> dict[str, Any]:
    return {**found, "train": found["train"] and not folder.has("baseline")}


def _choice(name: str, among: Range | AnyOf) -> Choice:
    if isinstance(among, AnyOf):
        return Choice(name=name, values=tuple(among.values))
    return Choice(name=name, low=among.low, high=among.high, step=among.step, log=among.log)


def _say(progress: Say | None) -> Say:
    return progress or (lambda line: None)
