"""A run as trackers of experiments hold it: figures by name and step, and settings by name."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from secateur.reporting.record import Run, Stage

_METRICS = ("accuracy", "macro_f1", "mae", "rmse", "r2")
_COSTS = ("parameters", "macs", "bytes", "file_bytes", "seconds")
# What MLflow allows in a name; TensorBoard allows more.
_OTHER = re.compile(r"[^\w./ -]")


class Point(NamedTuple):
    """A figure: what it is of, at which epoch or stage, and its value."""

    name: str
    step: int
    value: float


def points(run: Run) -> tuple[Point, ...]:
    """Return every figure of a run; what was not measured, or is no number, is left out.

    `training/STAGE/METRIC` has a value an epoch, counted from 1. `stages/FIGURE` has one a stage,
    counted from 0, which is the baseline: the last value of each is that of the result. Which stage
    has which number is told by `settings`.
    """
    return (*_curves(run), *(each for at, one in enumerate(run.stages) for each in _stage(at, one)))


def settings(run: Run) -> dict[str, str]:
    """Return what a run was asked to do, by name: its recipe with a dot between keys, its stages.

    Example:
        >>> made = Run(name="a", created="", secateur="1", recipe="steps: [{prune: {macs: 0.5}}]")
        >>> settings(made)
        {'secateur': '1', 'recipe.steps.1.prune.macs': '0.5'}
    """
    given = {"secateur": run.secateur, "source": run.source}
    given |= dict(_flat("recipe", yaml.safe_load(run.recipe) or {}))
    given |= {f"stage.{number}": stage.label for number, stage in enumerate(run.stages)}
    return {_OTHER.sub("_", name): value for name, value in given.items() if value}


def _curves(run: Run) -> Iterator[Point]:
    seen: Counter[str] = Counter()
    for curve in run.curves:
        seen[curve.stage] += 1
        again = f" {seen[curve.stage]}" if seen[curve.stage] > 1 else ""
        for metric, values in curve.metrics.items():
            name = _OTHER.sub("_", f"training/{curve.stage}{again}/{metric}")
            for epoch, value in enumerate(values, start=1):
                if value is not None:
                    yield Point(name, epoch, value)


def _stage(number: int, stage: Stage) -> Iterator[Point]:
    found = {name: getattr(stage.metrics, name, None) for name in _METRICS}
    found |= {name: getattr(stage, name) for name in _COSTS}
    for each in stage.latencies:
        how = f"{each.runtime}, batch {each.batch}, threads {each.threads}"
        found[f"latency_ms/{how}"] = each.median_ms
    for name, value in found.items():
        if value is not None:
            yield Point(_OTHER.sub("", f"stages/{name}"), number, float(value))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the parts of a value with their names; lists of plain values stay together."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value, start=1):
            yield from _flat(f"{name}.{number}", each)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
