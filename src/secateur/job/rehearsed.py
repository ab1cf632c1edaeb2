"""What rehearsals found, as values; nothing was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Beginning(BaseModel):
    """What a job would begin with.

    Attributes:
        recipe: the recipe's name.
        folder: where the job would go.
        rows: how many rows each split has.
        parameters: the weights of the model that it begins with.
        macs: the multiply-adds of that model for one sample.
        prunable: how many of its units may go.
        units: how many units it has.
        train: whether that model would be trained.
        notes: what was noticed about data and model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    folder: str
    rows: Mapping[str, int]
    parameters: int
    macs: int
    prunable: int
    units: int
    train: bool
    notes: tuple[str, ...]


class Rehearsal(Beginning):
    """What a run would begin with, and what it would do; nothing was written.

    Attributes:
        recipe: the recipe's name.
        folder: where the run would go.
        rows: how many rows each split has.
        parameters: the weights of the model that it begins with.
        macs: the multiply-adds of that model for one sample.
        prunable: how many of its units may go.
        units: how many units it has.
        train: whether that model would be trained.
        notes: what was noticed about data and model.
        steps: the steps, as they would be written in Python.
        done: which parts were done before; a run that is resumed does not do them again.
    """

    steps: tuple[str, ...]
    done: tuple[str, ...]


class Choice(BaseModel):
    """What a search chooses: a number from `low` to `high`, or one of `values`, by its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    values: tuple[Any, ...] | None = None


class ExploreRehearsal(Beginning):
    """What a search would begin with, and what it would choose from; nothing was written.

    Attributes:
        recipe: the recipe's name.
        folder: where the search would go.
        rows: how many rows each split has.
        parameters: the weights of the model that it begins with.
        macs: the multiply-adds of that model for one sample.
        prunable: how many of its units may go.
        units: how many units it has.
        train: whether that model would be trained; not where that was done before.
        notes: what was noticed about data and model.
        steps: what may stand at each place, in words.
        choices: what is chosen for each trial.
        objectives: what the models would be judged by, on the validation rows.
        trials: how many trials there would be in all.
        tried: how many of them were done before.
    """

    steps: tuple[str, ...]
    choices: tuple[Choice, ...]
    objectives: tuple[str, ...]
    trials: int
    tried: int


class Rival(BaseModel):
    """A contender: its steps in words, the most epochs it trains for, the seeds done before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    steps: str
    epochs: int
    done: tuple[int, ...]


class CompareRehearsal(Beginning):
    """What a comparison would begin with, and what would run; nothing was written.

    Attributes:
        recipe: the recipe's name.
        folder: where the comparison would go.
        rows: how many rows each split has.
        parameters: the weights of the model that all begin with.
        macs: the multiply-adds of that model for one sample.
        prunable: how many of its units may go.
        units: how many units it has.
        train: whether that model would be trained; not where that was done before.
        notes: what was noticed about data and model.
        contenders: the contenders, each of which runs once for each seed.
        seeds: the seeds.
        runtimes: the runtimes that the results would be measured in.
        jobs: how many contenders would run at the same time.
    """

    contenders: tuple[Rival, ...]
    seeds: tuple[int, ...]
    runtimes: tuple[str, ...]
    jobs: int
