"""`explore`: a recipe whose steps have ranges, from raw data to the front of the best models.

explored/
  recipe.yaml, state.json, baseline.keras   as in the folder of a run
  front.journal                             the trials, kept by Optuna
  front/                                    the models that no other one beats
  trials.json                               all that was tried
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.errors import BudgetError, RecipeError
from secateur.files import write_whole
from secateur.job.folder import RunFolder, disk_errors
from secateur.job.start import Start
from secateur.recipe.ranges import AnyOf, Range
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import ExploreSection
from secateur.steps.explore import explore as search
from secateur.steps.explored import Explored, file_of, grids_of
from secateur.steps.objectives import check_objectives, check_task
from secateur.steps.study import need_optuna

if TYPE_CHECKING:
    import keras
    import optuna

    from secateur.data.dataset import Dataset

STUDY = "front.journal"
TRIALS = "trials.json"


def explore(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    trials: int | None = None,
    progress: Callable[[str], None] | None = None,
    verbose: bool = False,
) -> Explored:
    """Search over the ranges in a recipe's steps; the same call goes on with what is there.

    Args:
        recipe: the recipe, or its file.
        out: the folder of the search.
        trials: how many trials there are to be; what the recipe says by default.
        progress: told one line for each thing that is done.
        verbose: show a bar while the model before the steps trains.

    Raises:
        RecipeError: the recipe has no range.
        BudgetError: every trial was refused.
        SecateurError: something else that the user can mend.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    asked = check(recipe)
    folder = RunFolder(out, recipe, resume=True)

    def build(trial: optuna.Trial) -> tuple[Any, ...]:
        return recipe.steps_of(_entries(recipe, trial))

    with disk_errors(folder.path, "with the same command"), folder.held():
        model, data = ExploreStart(recipe, folder, progress or (lambda line: None), verbose).begin()
        found = search(
            model,
            data,
            build,
            objectives=asked.objectives,
            trials=trials or asked.trials,
            study=folder.path / STUDY,
            seed=recipe.seed,
            progress=progress,
            **machine(asked),
        )
        write_whole(folder.path / TRIALS, json.dumps(_told(found), indent=1))
    if not found.front:
        raise BudgetError(
            f"all {len(found.trials)} trials were refused; the last one: {found.trials[-1].why}",
            where=folder.path / TRIALS,
            mend="Give other ranges.",
        )
    return found


class ExploreStart(Start):
    """The beginning of a search: what it judges by is looked at before anything is trained."""

    def read(self, model: keras.Model | None) -> Dataset:
        """Read the data, and raise where it does not have the objectives."""
        data = super().read(model)
        asked = self.recipe.explore or ExploreSection()
        check_task(asked.objectives, data, asked.runtime)
        return data


def check(recipe: Recipe) -> ExploreSection:
    """Return what a recipe asks of a search.

    Raises:
        MissingExtraError: Optuna is not installed.
        RecipeError: the recipe has no range.
        PlanError: there is no such objective.
    """
    need_optuna()
    if not recipe.space.ranges:
        raise RecipeError(
            "no step of the recipe has a range, so that there is nothing to choose.",
            where="steps",
            mend="Write, for example, `- prune: {macs: {low: 0.2, high: 0.8}}`.",
        )
    asked = recipe.explore or ExploreSection()
    check_objectives(asked.objectives)
    return asked


def machine(asked: ExploreSection) -> dict[str, Any]:
    """Return how latencies are taken."""
    return {"runtime": asked.runtime, "batch": asked.batch, "threads": asked.threads}


def _entries(recipe: Recipe, trial: optuna.Trial) -> tuple[dict[str, Any], ...]:
    def choose(name: str, among: Range | AnyOf) -> Any:
        if isinstance(among, AnyOf):
            return trial.suggest_categorical(name, list(among.values))
        low, high, step, log = among.low, among.high, among.step, among.log
        if among.whole:
            return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(name, low, high, step=step, log=log)

    made = recipe.space.entries(choose)
    if not made:
        raise need_optuna().TrialPruned("no step was left to do.")
    return made


def _told(found: Explored) -> dict[str, Any]:
    """Return what was found as plain values."""
    front = {each.number: f"front/{file_of(each.number)}" for each in found.front}
    grids = {
        number: f"front/{grids_of(number)}"
        for number in front
        if found.folder is not None and (found.folder / grids_of(number)).is_file()
    }
    return {
        "objectives": list(found.objectives),
        "whole": dict(found.whole),
        "trials": [
            {
                "number": each.number,
                "state": each.state,
                "values": dict(each.values),
                "settings": dict(each.settings),
                "steps": list(each.steps),
                "seconds": each.seconds,
                **({"why": each.why} if each.why else {}),
                **({"model": front[each.number]} if each.number in front else {}),
                **({"grids": grids[each.number]} if each.number in grids else {}),
            }
            for each in found.trials
        ],
    }
