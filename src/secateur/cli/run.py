"""`secateur run`: a recipe from raw data to a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.keras_setup import prepare
from secateur.cli.rehearsed import rehearse_run

if TYPE_CHECKING:
    from secateur.cli.told import RunTold
    from secateur.reporting.record import Run


def run(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", metavar="RECIPE")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to make; runs/NAME by default.", metavar="FOLDER"),
    ] = None,
    data: Annotated[
        str | None,
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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check recipe, data and model; train and write nothing."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell the result alone.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train or load a model, make it cheaper, measure it, export it, and write the report.

    Everything goes into one folder. A run that was broken off goes on with --resume: what was
    finished is not done again.
    """
    prepare()
    with sink.waiting("starting"):
        from secateur.data.places import absolute
        from secateur.job.run import run as run_recipe
        from secateur.recipe.recipe import Recipe
        from secateur.reporting.verdict import headline

        given = list(changes or [])
        if data is not None:
            given.append(f"data.source='{absolute(data).replace(chr(39), chr(39) * 2)}'")
        checked = Recipe.load(recipe, given)
    folder = out or Path("runs") / checked.name
    if dry_run:
        rehearse_run(checked, folder, resume=resume, quiet=quiet, json=json)
        return
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
        begun = folder.exists()
        above = context.parent
        modules = (above.params.get("modules") if above else None) or ()
        again = "Go on with: " + _again(recipe, folder, given, modules)
        interrupt.add_note(again if begun else "Nothing was done yet: give the command again.")
        raise
    if json:
        sink.as_json(told(made, folder))
        return
    sink.result(headline(made))
    sink.result(f"report: {folder / 'report.html'}")
    sink.result(f"score with: secateur score {folder / 'artifact'} DATA SCORED")


def told(made: Run, folder: Path) -> RunTold:
    """Return what `--json` prints of a run."""
    from secateur.cli.told import RunTold
    from secateur.reporting.verdict import headline

    return RunTold(
        name=made.name,
        folder=str(folder),
        report=str(folder / "report.html"),
        artifact=str(folder / "artifact"),
        headline=headline(made),
        stages=made.stages,
        warnings=made.warnings,
        seconds=made.seconds,
    )


def _again(recipe: Path, folder: Path, changes: list[str], modules: Sequence[str]) -> str:
    imports = [word for name in modules for word in ("--import", name)]
    words = ["secateur", *imports, "run", str(recipe), "--out", str(folder)]
    for change in changes:
        words += ["--set", change]
    return shlex.join([*words, "--resume"])
