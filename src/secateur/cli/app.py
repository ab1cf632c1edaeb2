"""The commands and their order in the help."""

from __future__ import annotations

from typing import Annotated

import typer

import secateur
from secateur.cli import (
    check,
    compare,
    demo,
    doctor,
    explore,
    export,
    init,
    inspect,
    log,
    out,
    pack,
    plan,
    report,
    run,
    score,
    seal,
    sign,
    tryout,
    verify,
)
from secateur.cli.exits import IN_HELP
from secateur.cli.messages import guarded
from secateur.cli.modules import import_modules
from secateur.cli.open import open_artifact

app = typer.Typer(
    name="secateur",
    help="Make a Keras model cheap enough to run over all of a large data set, and prove it.",
    epilog="Start with: secateur init DATA --target COLUMN, then secateur run recipe.yaml\n\n"
    + IN_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        out.result(f"secateur {secateur.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="A module with classes of layers, or rules, of your own; it is run.",
        ),
    ] = None,
) -> None:
    """Make a Keras model cheap enough to run over all of a large data set, and prove it."""
    guarded(import_modules)(modules or [])


_COMMANDS = (
    ("init", init.init, "Write a recipe for the data that is there."),
    ("run", run.run, "Do what a recipe asks, from raw data to a report."),
    ("explore", explore.explore, "Search over steps and settings; keep the best models."),
    ("compare", compare.compare, "Set the families of compression side by side."),
    ("inspect", inspect.inspect, "Show a model's layers, costs, and what can be pruned."),
    ("plan", plan.plan, "Show what would be cut, without cutting it."),
    ("export", export.export, "Write a model as ONNX, ready to score."),
    ("check", check.check, "Tell how data differs from the training data."),
    ("score", score.score, "Score any amount of data into Parquet files."),
    ("verify", verify.verify, "Check an artifact: whole, unchanged, signed by whom."),
    ("sign", sign.sign, "Vouch for an artifact with a key or a certificate."),
    ("pack", pack.pack, "Make one file of an artifact."),
    ("seal", seal.seal, "Encrypt an artifact to people or a passphrase."),
    ("open", open_artifact, "Make a folder of a packed or sealed artifact."),
    ("try", tryout.tryout, "Try a model on a page in the browser."),
    ("report", report.report, "Write the report of a run again."),
    ("log", log.log, "Write a run's figures for TensorBoard and MLflow."),
    ("doctor", doctor.doctor, "Tell what is installed, and what is missing."),
    ("demo", demo.demo, "Do all of it on handwritten digits."),
)
for _name, _command, _short in _COMMANDS:
    app.command(_name, short_help=_short)(guarded(_command))
