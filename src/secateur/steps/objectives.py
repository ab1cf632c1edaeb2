"""What a model is judged by: metrics on validation rows, the higher the better, and costs.

Every function here takes names of objectives in the order in which they were asked for, and gives
their values in that order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.cost.measure import measure
from secateur.cost.race import race, ratio
from secateur.cost.runtimes import check_runtime, write_for
from secateur.errors import DataError, PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.evaluation.metrics import Metrics, metrics
from secateur.formats.fake import fake_quantized
from secateur.graph.trace import trace
from secateur.steps.asked import METRICS
from secateur.steps.latency import OPENINGS
from secateur.steps.result import Result

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

_COUNTED = ("macs", "parameters", "bytes")
COSTS = (*_COUNTED, "latency")
_SECONDS = 3.0

Judge = Callable[[Result], dict[str, float]]


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Return the objectives as a tuple.

    Raises:
        PlanError: there is none, one is not known, or one is there twice.
    """
    known = f"Use some of {', '.join((*METRICS, *COSTS))}."
    if isinstance(objectives, str) or not objectives:
        raise PlanError(
            f"objectives must be a tuple of names, received {objectives!r}.",
            where="explore",
            mend=known,
        )
    for name in objectives:
        if name not in (*METRICS, *COSTS):
            raise PlanError(f"there is no objective {name!r}.", where="explore", mend=known)
        if list(objectives).count(name) > 1:
            raise PlanError(
                f"the objective {name!r} is there twice.", where="explore", mend="Name it once."
            )
    return tuple(objectives)


def check_task(objectives: Sequence[str], data: Dataset, runtime: str) -> None:
    """Raise where data or machine have no such objectives, which no model need be trained for.

    Args:
        objectives: checked names.
        data: its validation rows are judged on.
        runtime: for the latency.

    Raises:
        DataError: there are no validation rows to judge on.
        PlanError: the task has no such metric.
        ModelError: the runtime is not known.
        MissingExtraError: the runtime is not installed.
    """
    names = [name for name in objectives if maximised(name)]
    if names and not data.validation.rows:
        raise DataError(
            "models are judged on validation rows, and there are none.",
            where="explore",
            mend="Give the validation split a share of the rows.",
        )
    if "latency" in objectives:
        check_runtime(runtime)
    if names:
        truth = data.validation.labels()
        nothing = np.zeros((len(truth), max(1, len(data.contract.classes))))
        _shares(metrics(truth, nothing, data.contract), names)


def maximised(objective: str) -> bool:
    """Return whether an objective is the better the higher it is."""
    return objective in METRICS


@contextmanager
def judging(
    model: keras.Model,
    data: Dataset,
    objectives: Sequence[str],
    *,
    runtime: str,
    batch: int,
    threads: int,
) -> Iterator[tuple[Judge, dict[str, float]]]:
    """Yield a function that judges results of steps, and what the whole model is worth.

    Metrics are shares (R2 may be negative) on the validation rows. MACs, parameters and bytes are
    counted; latency is a share of the whole model's, the two timed in turn. What is quantized is
    judged as it answers, is stored and is timed in integers.

    Args:
        model: the whole model.
        data: its validation rows are judged on.
        objectives: checked names.
        runtime: for the latency, as are the rows of one call and its threads.
        batch: likewise.
        threads: likewise.

    Raises:
        DataError: there are no validation rows to judge on.
        PlanError: the task has no such metric.
        ModelError: the runtime is not known, or cannot run the model.
        MissingExtraError: the runtime is not installed.
    """
    check_task(objectives, data, runtime)
    names = [name for name in objectives if maximised(name)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        whole = write_for(model, runtime, home) if "latency" in objectives else home
        open_length = trace(model).open_length or 1

        def latency(made: Result) -> float:
            with tempfile.TemporaryDirectory(dir=home) as own:
                smaller = write_for(made.model, runtime, Path(own), made.quantization)
                paths = {"whole": whole, "smaller": smaller}
                times = race(
                    paths,
                    batch=batch,
                    threads=threads,
                    seconds=_SECONDS,
                    open_length=open_length,
                    runtime=runtime,
                    openings=OPENINGS,
                )
            return ratio(times["whole"], times["smaller"])

        def judge(made: Result) -> dict[str, float]:
            found = {name: float(getattr(made.after, name)) for name in _COUNTED}
            if names:
                answers = made.model
                if made.quantization is not None:
                    answers = fake_quantized(answers, made.quantization)
                found |= _shares(evaluate(answers, data.validation), names)
            if "latency" in objectives:
                found["latency"] = 1.0 if made.model is model else latency(made)
            return {name: found[name] for name in objectives}

        cost = measure(model)
        yield judge, judge(Result(model, cost, cost))


def told(objective: str, value: float, whole: Mapping[str, float]) -> str:
    """Return a value as a person reads it: metrics as they are, costs as shares of the whole."""
    if objective == "r2":
        return f"{value:.3f}"
    if maximised(objective):
        return f"{value:.1%}"
    return f"{value / whole[objective]:.1%}" if whole[objective] else f"{value:g}"


def _shares(found: Metrics, names: Sequence[str]) -> dict[str, float]:
    values = {name: getattr(found, name) for name in METRICS}
    for name in names:
        if values[name] is None:
            has = [each for each, value in values.items() if value is not None]
            raise PlanError(
                f"a {found.task} with these classes has no {name}.",
                where="explore",
                mend=f"Use {' or '.join(has)}.",
            )
    return {name: float(values[name]) for name in names}
