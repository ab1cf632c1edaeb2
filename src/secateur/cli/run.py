"""`secateur run`: a recipe from raw data to a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.keras_setup import prepare


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", metavar="RECIPE")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to make; runs/NAME by default.", metavar="FOLDER"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The data, instead of the recipe's source.", metavar="PATH"),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a value of the recipe: train.epochs=2, steps.prune.macs=0.3. Repeatable.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was broken off.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell the result alone.")] = False,
) -> None:
    """Train or load a model, make it cheaper, measure it, export it, and write the report.

    Everything goes into one folder. A run that was broken off goes on with --resume: what was
    finished is not done again.
    """
    prepare()
    with sink.waiting("starting"):
        from secateur.job.run import run as run_recipe
        from secateur.recipe.recipe import Recipe
        from secateur.reporting.verdict import headline

        given = list(changes or [])
        if data is not None:
            given.append(f"data.source='{str(data.resolve()).replace(chr(39), chr(39) * 2)}'")
        checked = Recipe.load(recipe, given)
    folder = out or Path("runs") / checked.name
    try:
        made = run_recipe(
            checked,
            folder,
            resume=resume,
            progress=None if quiet else sink.say,
            verbose=not quiet and sys.stderr.isatty(),
            command=shlex.join(["secateur", *sys.argv[1:]]),
        )
    except KeyboardInterrupt as interrupt:
        if folder.exists():
            interrupt.add_note("Go on with: " + _again(recipe, folder, given))
        raise
    sink.result(headline(made))
    sink.result(f"report: {folder / 'report.html'}")
    sink.result(f"score with: secateur score {folder / 'artifact'} DATA SCORED")


def _again(recipe: Path, folder: Path, changes: list[str]) -> str:
    words = ["secateur", "run", str(recipe), "--out", str(folder)]
    for change in changes:
        words += ["--set", change]
    return shlex.join([*words, "--resume"])
