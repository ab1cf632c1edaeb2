"""`log`: the figures of a run, finished or broken off, for other tools to show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from secateur.errors import ArtifactError
from secateur.job.folder import RECIPE, STATE
from secateur.reporting.record import FILE_NAME, Run
from secateur.reporting.tracked import points
from secateur.reporting.trackers import to_mlflow, to_tensorboard


class Logged(NamedTuple):
    """What was logged of a run.

    Attributes:
        run: the record that it was taken from.
        finished: whether the run had come to its end.
        figures: how many figures there are.
        tensorboard: the file of events.
        mlflow: the identity of the run that MLflow made.
    """

    run: Run
    finished: bool
    figures: int
    tensorboard: Path | None
    mlflow: str | None


def log(
    folder: str | Path,
    *,
    tensorboard: str | Path | None = None,
    mlflow: str | None = None,
    experiment: str | None = None,
) -> Logged:
    """Write training curves, metrics and costs of a run for TensorBoard, MLflow or both.

    Args:
        folder: the folder of a run; of one that was broken off, what it had finished is logged.
        tensorboard: the folder that TensorBoard shows; the run gets a folder of its own name in it.
        mlflow: where MLflow keeps runs: `http://...` of its server, or `sqlite:///FILE`.
        experiment: what the run belongs to in MLflow; by default the recipe's name.

    Raises:
        ArtifactError: the folder has no record of a run, or nothing was finished yet.
        MissingExtraError: TensorFlow or MLflow is not installed.
        OutputError: the events cannot be written, or there are some of another run.
        StoreError: MLflow cannot be reached.
    """
    path = Path(folder)
    run, finished = so_far(path)
    name = path.resolve().name
    events = None if tensorboard is None else to_tensorboard(run, Path(tensorboard) / name)
    made = None
    if mlflow is not None:
        made = to_mlflow(run, mlflow, name=name, experiment=experiment, finished=finished)
    return Logged(run, finished, len(points(run)), events, made)


def so_far(folder: Path) -> tuple[Run, bool]:
    """Return the record of a run, and whether it is finished; else what its state tells.

    Raises:
        ArtifactError: it is no folder of a run, or nothing was finished yet.
    """
    state = folder / STATE
    if (folder / FILE_NAME).exists() or not state.is_file():
        return Run.load(folder), True
    if not _is_run(folder):
        raise ArtifactError(
            "this is a comparison or a search, and not a run.",
            where=folder,
            mend="Give the folder that `secateur run` wrote.",
        )
    try:
        facts = dict(json.loads(state.read_text(encoding="utf-8"))["facts"])
        recipe = (folder / RECIPE).read_text(encoding="utf-8")
        run = Run(
            name=str(yaml.safe_load(recipe)["name"]),
            created=datetime.fromtimestamp(state.stat().st_mtime, UTC).isoformat(),
            secateur="",
            recipe=recipe,
            stages=_all(facts, ""),
            curves=_all(facts, " curves"),
            notes=_all(facts, " notes"),
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, ValidationError) as error:
        raise ArtifactError(
            f"the state of the run cannot be read: {error}".splitlines()[0], where=state
        ) from None
    if not run.stages and not run.curves:
        raise ArtifactError(
            "nothing of the run is finished yet, so there is nothing to log.",
            where=folder,
            mend="Go on with `secateur run --resume`, or wait until the baseline is trained.",
        )
    return run, False


def _is_run(folder: Path) -> bool:
    # A comparison and a search keep their baseline as a run does, and other things beside it.
    return not any((folder / name).exists() for name in ("compare.yaml", "front.journal"))


def _all(facts: Mapping[str, Any], kind: str) -> tuple[Any, ...]:
    """Return what baseline and steps have noted of a kind, in order."""
    steps = sum(key.startswith("step ") and key.count(" ") == 1 for key in facts)
    # The step under way may have noted something before it was finished.
    parts = ("baseline", *(f"step {number}" for number in range(1, steps + 2)))
    return tuple(each for part in parts for each in facts.get(f"{part}{kind}", ()))
