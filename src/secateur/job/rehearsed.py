"""What a rehearsal of a run found, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Rehearsal(BaseModel):
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
        steps: the steps, as they would be written in Python.
        done: which parts were done before; a run that is resumed does not do them again.
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
    steps: tuple[str, ...]
    done: tuple[str, ...]
    notes: tuple[str, ...]
