"""What the artifact of a run tells on its own: figures before and after, how taken, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.formats.completing import complete
from secateur.reporting.record import LatencyView, Run, Stage


def hand_over(artifact: Path, run: Run, report: Path) -> None:
    """Write the run's figures into the artifact's manifest, and its report beside the model.

    Raises:
        ArtifactError: the artifact is not whole.
        OutputError: it cannot be written.
    """
    first, last = run.stages[0], run.stages[-1]
    parts = {stage.name: stage for stage in run.stages}
    counted = next((each for each in reversed(run.stages) if each.parameters is not None), last)
    complete(
        artifact,
        files={"report.html": report},
        metrics=_metrics(last),
        cost=_cost(last, counted),
        baseline={"metrics": _metrics(first), "cost": _cost(first, parts.get("baseline", first))},
        measured=_measured(run, first, last),
    )


def _metrics(stage: Stage) -> dict[str, Any]:
    return {} if stage.metrics is None else stage.metrics.model_dump(mode="json", exclude_none=True)


def _cost(stage: Stage, counted: Stage) -> dict[str, Any]:
    """Return what a stage costs; an exported file has the parameters of the model it was."""
    told = {
        "parameters": counted.parameters,
        "macs": counted.macs,
        "bytes": counted.bytes,
        "file_bytes": stage.file_bytes,
        "latencies": [each.model_dump(mode="json", exclude_none=True) for each in stage.latencies],
    }
    return {key: value for key, value in told.items() if value is not None}


def _measured(run: Run, first: Stage, last: Stage) -> dict[str, str]:
    rows = None if last.metrics is None else last.metrics.rows
    where = ", ".join(run.environment.values())
    told = {
        "metrics": f"the exported file on {rows or 'the'} test rows; before, the Keras model on "
        "the same rows",
        "macs": "counted from the shapes, for one sample",
        "bytes": "counted: of the weights as the Keras model stores them",
        "file_bytes": "the size of model.onnx",
        "environment": where,
    }
    if last.latencies and first.latencies:
        told["latencies"] = f"both files in turn, {_setting(last.latencies[0])}; median and p95"
    return told


def _setting(latency: LatencyView) -> str:
    return f"{latency.runtime}, {latency.threads} thread{'s' if latency.threads > 1 else ''}"
