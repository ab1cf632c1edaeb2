"""`secateur explore`: search over the ranges in a recipe's steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli import out as sink
from secateur.cli.keras_setup import prepare
from secateur.cli.left import paced
from secateur.cli.rehearsed import rehearse_explore


def explore(
    recipe: Annotated[
        Path,
        typer.Argument(help="A recipe whose steps have ranges, a YAML file.", metavar="RECIPE"),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder; explored/NAME by default.", metavar="FOLDER"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, help="How many trials in all; what the recipe says by default."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Set a value of the recipe: train.epochs=2. Repeatable.", metavar="K=V"
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check recipe, data and model; train and write nothing."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell the result alone.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all trials as JSON.")] = False,
) -> None:
    """Search over steps and their settings, and keep the models that no other one beats.

    In the recipe, a value of a step may be a range: {low: 0.2, high: 0.8} or {any: [l2, taylor]}.
    Models are judged on the validation rows. The same command goes on with a search that was
    broken off, and with a larger --trials it goes on with one that is done.
    """
    prepare()
    with sink.waiting("starting"):
        from secateur.job.explore import TRIALS
        from secateur.job.explore import explore as search
        from secateur.recipe.recipe import Recipe

        checked = Recipe.load(recipe, list(changes or []))
    folder = out or Path("explored") / checked.name
    if dry_run:
        rehearse_explore(checked, folder, trials=trials, quiet=quiet, json=json)
        return
    try:
        found = search(
            checked,
            folder,
            trials=trials,
            progress=None if quiet else paced(sink.say, moving=sys.stderr.isatty()),
            verbose=not quiet and sys.stderr.isatty(),
        )
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("Give the same command again to go on from here.")
        raise
    if json:
        _as_json(folder)
        return
    _show(found)
    sink.result(f"models: {folder / 'front'}")
    sink.result(f"all trials: {folder / TRIALS}")


def _as_json(folder: Path) -> None:
    from json import loads

    from secateur.cli.told import ExploreTold
    from secateur.job.explore import TRIALS

    kept = loads((folder / TRIALS).read_text(encoding="utf-8"))
    sink.as_json(ExploreTold(folder=str(folder), **kept))


def _show(found: Any) -> None:
    from secateur.steps.objectives import told

    front, names = found.front, found.objectives
    whole = [told(name, found.whole[name], found.whole) for name in names]
    rows = [
        [
            str(each.number),
            *(told(name, each.values[name], found.whole) for name in names),
            ", ".join(f"{name} {_short(value)}" for name, value in each.settings.items()),
        ]
        for each in front
    ]
    title = f"{len(front)} of {len(found.trials)} trials are on the front"
    sink.table(title, ["trial", *names, "settings"], [["", *whole, "the whole model"], *rows])


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
