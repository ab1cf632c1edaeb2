"""Writers of runs for TensorBoard and MLflow: each takes a record, and writes figures of it."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from secateur.errors import MissingExtraError, OutputError, StoreError
from secateur.files import new_file
from secateur.formats.quiet import quiet
from secateur.reporting.record import Run
from secateur.reporting.tracked import points, settings
from secateur.reporting.verdict import headline

# TensorBoard reads files that have "tfevents" in their name.
_EVENTS = "events.out.tfevents"
# A service takes so many of each at once, and no longer values.
_METRICS, _PARAMS, _LONGEST = 1000, 100, 5000


def to_tensorboard(run: Run, folder: Path) -> Path:
    """Write a run into a folder of its own, and return the file.

    What an earlier call wrote of the same run is replaced, so that no figure is there twice.

    Args:
        run: the record.
        folder: the folder.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        OutputError: the folder has another run, or cannot be written.
    """
    tf = _need("tensorflow", "tensorflow", "events for TensorBoard are written by it")
    path = folder / f"{_EVENTS}.0.{hashlib.sha256(run.recipe.encode()).hexdigest()[:12]}.secateur"
    others = [each for each in folder.glob(f"{_EVENTS}.*") if each != path]
    if others:
        raise OutputError(
            f"there are events of another run already: {others[0].name}.",
            where=folder,
            mend="Name another folder.",
        )
    event, summary = tf.compat.v1.Event, tf.compat.v1.Summary
    when = _when(run)

    def told(**what: Any) -> bytes:
        return event(wall_time=when, **what).SerializeToString()

    def text(name: str, content: str) -> bytes:
        kind = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="text")
        value = summary.Value(
            tag=name,
            tensor=tf.make_tensor_proto([content], dtype=tf.string),
            metadata=tf.compat.v1.SummaryMetadata(plugin_data=kind),
        )
        return told(step=0, summary=summary(value=[value]))

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(path) as partial, tf.io.TFRecordWriter(str(partial)) as file:
            file.write(told(file_version="brain.Event:2"))
            file.write(text("recipe", _code(run.recipe)))
            file.write(text("settings", _table(settings(run))))
            if run.warnings:
                file.write(text("warnings", "\n".join(f"- {each}" for each in run.warnings)))
            for each in points(run):
                value = summary.Value(tag=each.name, simple_value=each.value)
                file.write(told(step=each.step, summary=summary(value=[value])))
    except (OSError, tf.errors.OpError) as error:
        raise OutputError(
            f"the events cannot be written: {getattr(error, 'strerror', None) or error}.",
            where=folder,
            mend="Choose a folder that can be written and has room.",
        ) from None
    return path


def to_mlflow(
    run: Run, uri: str, *, name: str, experiment: str | None = None, finished: bool = True
) -> str:
    """Make a run of MLflow with the figures of a run, and return its identity there.

    Each call makes one: MLflow takes no figure back.

    Args:
        run: the record.
        uri: where MLflow keeps runs: `http://...` of its server, or `sqlite:///FILE`.
        name: what the run is to be called there.
        experiment: what it belongs to; by default the recipe's name.
        finished: whether the run came to its end.

    Raises:
        MissingExtraError: MLflow is not installed.
        StoreError: it cannot be reached, or does not take what it is given.
    """
    # It would tell its makers of its use, and wait for minutes for a server that is not there.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    mlflow = _need("mlflow", "mlflow", "runs are logged by it")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    entities = importlib.import_module("mlflow.entities")
    when = int(_when(run) * 1000)
    metrics = [entities.Metric(each.name, each.value, when, each.step) for each in points(run)]
    params = [entities.Param(key, value[:_LONGEST]) for key, value in settings(run).items()]
    tags = {"warnings": "\n".join(run.warnings)[:_LONGEST]} if run.warnings else {}
    if finished:
        tags["mlflow.note.content"] = headline(run)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        kept = client.get_experiment_by_name(experiment or run.name)
        place = kept.experiment_id if kept else client.create_experiment(experiment or run.name)
        begun = when - int((run.seconds or 0) * 1000)
        made = client.create_run(place, start_time=begun, run_name=name, tags=tags).info.run_id
        try:
            for some in _parts(metrics, _METRICS):
                client.log_batch(made, metrics=some)
            for some in _parts(params, _PARAMS):
                client.log_batch(made, params=some)
        except BaseException:
            with suppress(Exception):
                client.set_terminated(made, "FAILED")
            raise
        # MLflow has no word for a run that was broken off and may go on.
        client.set_terminated(made, "FINISHED" if finished else "KILLED", end_time=when)
    except _refusals(mlflow) as error:
        scheme, found, rest = uri.partition("://")
        # A password may hold any sign; what is behind the last "@" is none.
        user, at, host = rest.rpartition("@")
        said = " ".join(str(error).split())
        raise StoreError(
            f"MLflow does not take the run: {said.replace(user + at, '') if at else said}",
            where=f"{scheme}{found}{host}",
            mend="Give the address of an MLflow server, or sqlite:///FILE.",
        ) from error
    return made


def _need(module: str, extra: str, why: str) -> Any:
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"the package {module} is not installed, and {why}.",
            where="log",
            mend=f"Run `pip install 'secateur[{extra}]'`.",
        ) from error


def _refusals(mlflow: Any) -> tuple[type[Exception], ...]:
    """Return what MLflow raises where it cannot be reached: not all of it is of its own kind."""
    found = (mlflow.exceptions.MlflowException, OSError)
    with suppress(ImportError):
        found += (importlib.import_module("sqlalchemy.exc").SQLAlchemyError,)
    return found


def _when(run: Run) -> float:
    """Return the second at which a run was written down: the figures are no younger."""
    return datetime.fromisoformat(run.created).timestamp()


def _parts(whole: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [whole[start : start + most] for start in range(0, len(whole), most)]


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _table(rows: dict[str, str]) -> str:
    lines = [f"| {name} | {value.replace('|', ' ')} |" for name, value in rows.items()]
    return "\n".join(("| setting | value |", "|---|---|", *lines))
