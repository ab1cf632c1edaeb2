"""`secateur log`: the figures of a run for TensorBoard and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import out as sink
from secateur.errors import SecateurError


def log(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN")],
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard",
            help="The folder that TensorBoard shows; the run gets its own folder in it.",
            metavar="FOLDER",
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            "--mlflow",
            help="Where MLflow keeps runs: the address of its server, or sqlite:///FILE.",
            metavar="URI",
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", help="The experiment of MLflow; the recipe's name by default."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was logged as JSON.")] = False,
) -> None:
    """Write the training curves, metrics and costs of a run for TensorBoard, MLflow or both.

    They are taken from the run's own record, so a run can be logged at any time after it, and of
    one that was broken off what it had finished. TensorBoard needs the extra `tensorflow`, MLflow
    the extra `mlflow`.
    """
    if tensorboard is None and mlflow is None:
        raise SecateurError(
            "there is nowhere to log to.", mend="Give --tensorboard FOLDER, --mlflow URI or both."
        )
    if experiment is not None and mlflow is None:
        raise SecateurError("--experiment is of MLflow.", mend="Give --mlflow URI as well.")
    with sink.waiting("logging"):
        from secateur.job.log import log as log_run

        done = log_run(folder, tensorboard=tensorboard, mlflow=mlflow, experiment=experiment)
    if json:
        from secateur.cli.told import LogTold

        sink.as_json(
            LogTold(
                name=done.run.name,
                finished=done.finished,
                figures=done.figures,
                tensorboard=None if done.tensorboard is None else str(done.tensorboard),
                mlflow=done.mlflow,
            )
        )
        return
    if not done.finished:
        sink.say("the run is not finished: what it had finished is logged")
    if done.tensorboard is not None:
        sink.result(f"tensorboard: {done.figures:,} figures in {done.tensorboard}")
    if done.mlflow is not None:
        sink.result(f"mlflow: {done.figures:,} figures in run {done.mlflow}")
