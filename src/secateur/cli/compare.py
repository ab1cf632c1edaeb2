"""`secateur compare`: the families of compression side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.cli.keras_setup import prepare
from secateur.cli.rehearsed import rehearse_compare


def compare(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", metavar="RECIPE")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The folder to make; runs/NAME-compare by default.", metavar="FOLDER"
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="The data, instead of the recipe's source.", metavar="PATH"),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a value of the recipe: compare.epochs=2, compare.seeds=[0]. Repeatable.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="How many contenders run at once; one for every four cores by default.",
            metavar="N",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check recipe, data and model; train and write nothing."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell the result alone.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Run the families of compression from one trained model, and measure them side by side.

    The recipe's section `compare` names the contenders; without one there is one a family. Each
    starts from the same baseline, once for each seed. A comparison that was broken off goes on with
    the same command: what was finished is not done again. A contender that fails stops no other.
    """
    prepare()
    with sink.waiting("starting"):
        from secateur.data.places import absolute
        from secateur.errors import ModelError
        from secateur.job.compare import compare as compare_recipe
        from secateur.recipe.recipe import Recipe
        from secateur.reporting.standings import about_failures, headline, terminal

        given = list(changes or [])
        if data is not None:
            given.append(f"data.source='{absolute(data).replace(chr(39), chr(39) * 2)}'")
        checked = Recipe.load(recipe, given)
    folder = out or Path("runs") / f"{checked.name}-compare"
    if dry_run:
        rehearse_compare(checked, folder, jobs=jobs, quiet=quiet, json=json)
        return
    above = context.parent
    try:
        made = compare_recipe(
            checked,
            folder,
            jobs=jobs,
            progress=None if quiet else sink.say,
            verbose=not quiet and sys.stderr.isatty(),
            command=shlex.join(["secateur", *sys.argv[1:]]),
            modules=tuple((above.params.get("modules") if above else None) or ()),
        )
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("Go on with the same command.")
        raise
    if json and made.came_through:
        from secateur.cli.standing import told

        sink.as_json(told(made, folder))
    elif not json:
        for title, columns, rows in terminal(made):
            sink.table(title, columns, rows)
            sink.result("")
        for line in about_failures(made):
            sink.result(f"failed: {line}")
        sink.result(headline(made))
        sink.result(f"page: {folder / 'compare.html'}")
    if not made.came_through:
        raise ModelError(
            "no contender came through.",
            where=folder,
            mend="See why above; what each process printed is in its log.txt.",
        )
