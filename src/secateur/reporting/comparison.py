"""What a comparison leaves behind for its page: one frozen value, one JSON file.

As with the record of a run, it holds plain figures and strings alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from secateur.errors import ArtifactError
from secateur.files import write_whole
from secateur.reporting.record import DataSummary, Figure, MetricsView

FORMAT = 1
FILE_NAME = "compare.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Timing(_Record):
    """How long one batch took, and the share of the baseline's time that this is.

    `left` compares calls that were made in turn with those of the baseline's exported file.
    """

    batch: int
    threads: int
    median_ms: float
    left: Figure = None


class Written(_Record):
    """An exported file in the runtime that opens it, or what kept it from being made or run.

    `file` is its path below the comparison's folder and `bytes` its size, `memory` what opening and
    running it took at most, `metrics` what the file itself says of the test rows.
    """

    runtime: str
    file: str = ""
    bytes: int | None = None
    metrics: MetricsView | None = None
    memory: int | None = None
    timings: tuple[Timing, ...] = ()
    failure: str = ""


class Trial(_Record):
    """A contender with one seed: what came out, or why nothing did (`failure`).

    `parameters` and `macs` are counted on the Keras model, `epochs` is how many were trained,
    `folder` where its files are, below that of the comparison.
    """

    seed: int
    folder: str
    parameters: int | None = None
    macs: int | None = None
    written: tuple[Written, ...] = ()
    epochs: int = 0
    seconds: Figure = None
    notes: tuple[str, ...] = ()
    failure: str = ""

    def on(self, runtime: str) -> Written | None:
        """Return the exported file for a runtime, if it came through there."""
        return next((w for w in self.written if w.runtime == runtime and not w.failure), None)


class Entrant(_Record):
    """A contender: its steps in words, and one trial a seed."""

    name: str
    steps: str = ""
    trials: tuple[Trial, ...] = ()

    @property
    def through(self) -> tuple[Trial, ...]:
        """The trials that came through on at least one runtime."""
        return tuple(
            t for t in self.trials if not t.failure and any(not w.failure for w in t.written)
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """What went wrong, each reason once."""
        told: dict[str, list[str]] = {}
        for trial in self.trials:
            if trial.failure:
                told.setdefault(trial.failure, []).append(f"seed {trial.seed}")
            for each in trial.written:
                if each.failure:
                    told.setdefault(each.failure, []).append(f"seed {trial.seed}, {each.runtime}")
        if len(self.trials) == 1:
            return tuple(told)
        return tuple(f"{why} ({'; '.join(where)})" for why, where in told.items())


class Comparison(_Record):
    """Everything that the page of a comparison shows.

    `baseline` is an entrant with no steps and one trial. `asked` is the request in words.
    """

    format: int = FORMAT
    name: str
    created: str
    secateur: str
    source: str = ""
    asked: dict[str, str] = {}
    data: DataSummary | None = None
    runtimes: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int = 1
    memory_batch: int | None = None
    baseline: Entrant
    entrants: tuple[Entrant, ...]
    warnings: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    recipe: str = ""
    command: str = ""
    seconds: Figure = None

    @property
    def came_through(self) -> tuple[Entrant, ...]:
        """The contenders of which at least one trial came through."""
        return tuple(each for each in self.entrants if each.through)

    def save(self, folder: str | Path) -> Path:
        """Write the record into a folder and return the file's path.

        Raises:
            OutputError: the file cannot be written; what stood there before is left as it was.
        """
        return write_whole(Path(folder) / FILE_NAME, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Comparison:
        """Read a record from its file, or from the folder that holds it.

        Raises:
            ArtifactError: there is no record, or it is not one that this version can read.
        """
        path = Path(path)
        file = path / FILE_NAME if path.is_dir() else path
        try:
            made = cls.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(
                "there is no record of a comparison here.",
                where=file,
                mend=f"Give the folder that `secateur compare` wrote; it holds {FILE_NAME}.",
            ) from None
        except (OSError, UnicodeDecodeError, ValidationError):
            made = None
        if made is None or made.format != FORMAT:
            raise ArtifactError(
                "the record is damaged, or of another version of secateur.",
                where=file,
                mend="Run the comparison again; what is finished is not done again.",
            )
        return made


@dataclass(frozen=True)
class Spread:
    """The mean of a figure over seeds, its standard deviation, and how far it reaches."""

    mean: float
    deviation: float | None
    low: float
    high: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return mean and spread of those values that are there; None if none is.

    Example:
        >>> spread([0.5, None, 0.7]).mean
        0.6
    """
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.fmean(known), deviation, min(known), max(known))


def quality_name(made: Comparison) -> str:
    """Return which figure says how good a model is: `accuracy`, or `r2` of a value."""
    for entrant in (made.baseline, *made.entrants):
        for trial in entrant.trials:
            for each in trial.written:
                if each.metrics is not None:
                    return "r2" if each.metrics.task == "regression" else "accuracy"
    return "accuracy"


def over_seeds(entrant: Entrant, of: Callable[[Trial], Any]) -> Spread | None:
    """Return mean and spread of a figure over the trials of an entrant that came through."""
    return spread(of(trial) for trial in entrant.through)


def quality(entrant: Entrant, runtime: str, name: str) -> Spread | None:
    """Return how good an entrant's exported files are on a runtime."""
    return over_seeds(entrant, lambda t: (w := t.on(runtime)) and getattr(w.metrics, name, None))


def file_figure(entrant: Entrant, runtime: str, key: str) -> Spread | None:
    """Return `bytes` or `memory` of an entrant's exported files."""
    return over_seeds(entrant, lambda t: (w := t.on(runtime)) and getattr(w, key))


def time_left(entrant: Entrant, runtime: str, batch: int) -> Spread | None:
    """Return the share of the baseline's time that an entrant takes."""
    return over_seeds(entrant, lambda t: (one := timing(t, runtime, batch)) and one.left)


def timing(trial: Trial, runtime: str, batch: int) -> Timing | None:
    """Return what was timed of a trial on a runtime at a batch size."""
    file = trial.on(runtime)
    return None if file is None else next((t for t in file.timings if t.batch == batch), None)
