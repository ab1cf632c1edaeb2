"""What a run's change did to whom, of the two exported files on the test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from secateur.data.groups import groups_of
from secateur.evaluation.robustness import Robustness, Slice, robustness
from secateur.formats.predictor import Predictor
from secateur.reporting import record

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.formats.artifact import Artifact
    from secateur.recipe.recipe import Recipe

# Multiply-accumulates that the corrupted rows may cost altogether: some seconds on one core.
_MACS = 2e11
_ROWS = (64, 2048)


class Judged(NamedTuple):
    """What the record holds, and what is told while the run goes on."""

    view: record.RobustnessView
    lines: tuple[str, ...]


def judge(
    recipe: Recipe,
    data: Dataset,
    truth: np.ndarray,
    exported: Mapping[str, Artifact],
    answers: Mapping[str, np.ndarray],
    *macs: int | None,
) -> Judged:
    """Set the two exported files ("baseline" and "final") against each other, slice by slice.

    Args:
        recipe: names groups and margin.
        data: its test rows are judged.
        truth: what is true of them.
        exported: the files.
        answers: what each answers for all test rows.
        macs: the multiply-accumulates of a row of each file.
    """
    asked = recipe.measure
    before, after = (Predictor(exported[key]).predict for key in ("baseline", "final"))
    found = robustness(
        data.test,
        truth,
        answers["baseline"],
        answers["final"],
        groups={column: groups_of(data.test, column) for column in asked.groups},
        models=(before, after) if asked.corruptions else None,
        rows=_rows(sum(each or 0 for each in macs)),
        margin=asked.margin,
        seed=recipe.seed,
    )
    view = record.RobustnessView.model_validate(found.model_dump())
    return Judged(view, tuple(_lines(found)))


def _rows(macs: int) -> int:
    # About nine inputs are made of each row, as it is and corrupted.
    least, most = _ROWS
    return int(min(most, max(least, _MACS / (9 * max(1, macs)))))


def _lines(found: Robustness) -> list[str]:
    parts: dict[str, tuple[Slice, ...]] = {"class": found.classes, **found.groups}
    parts["under"] = found.conditions
    lines = [
        f"warning    {kind} {each.name}: {each.before:.4g} before, {each.after:.4g} after"
        for kind, slices in parts.items()
        for each in slices
        if each.flagged
    ]
    looked = sum(map(len, parts.values()))
    return [*lines, f"robustness {looked} slices, {len(lines)} lose more than the margin"]
