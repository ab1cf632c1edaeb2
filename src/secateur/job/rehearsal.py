"""What a run would do: recipe, data and model are checked as a run does, and nothing is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from secateur.graph.trace import trace
from secateur.job.folder import RunFolder
from secateur.job.rehearsed import Rehearsal
from secateur.job.start import Say, Start
from secateur.models.fits import check_fits
from secateur.recipe.recipe import Recipe
from secateur.steps.distributed import check_workers


def told(step: Any) -> str:
    """Return a step as it would be written in Python: with what is not as it is by default."""
    default = {each.name: each.default for each in dataclasses.fields(step)}
    given = {name: getattr(step, name) for name in default}
    words = [f"{name}={value!r}" for name, value in given.items() if value != default[name]]
    return f"{type(step).__name__}({', '.join(words)})"


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
    start = Start(recipe, folder, progress or (lambda line: None), False)
    model, loaded = start.start_model()
    data = start.read(model)
    if model is None:
        model = start.build(data)
    check_fits(model, data.contract, where=recipe.model_path)
    graph = trace(model)
    groups = (*graph.groups, *graph.fixed)
    parts = ["baseline", *(f"step {index + 1}" for index in range(len(steps)))]
    return Rehearsal(
        recipe=recipe.name,
        folder=str(out),
        rows={
            "train": data.train.rows,
            "validation": data.validation.rows,
            "test": data.test.rows,
        },
        parameters=graph.parameters(),
        macs=graph.macs(),
        prunable=sum(int(group.free.sum()) for group in groups),
        units=sum(len(group) for group in groups),
        train=not loaded or recipe.train is not None,
        steps=steps,
        done=tuple(name for name in parts if folder.has(name)),
        notes=(*data.notes, *start.notes),
    )
