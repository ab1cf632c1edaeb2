"""Measure how much each group matters: cut it alone, heal, and look at the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from secateur.errors import ModelError, PlanError
from secateur.graph.observe import loss_for, observe
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.criteria import Criterion, criterion, needed
from secateur.planning.options import check_options, held_by, kinds_of, sparing
from secateur.planning.scoring import scores_of
from secateur.planning.sensitivity import Sensitivity, alone
from secateur.steps.asked import check_dataset, check_names, check_whole, is_number
from secateur.steps.cutting import cut
from secateur.steps.healing import heal as healed_by

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset

SHARES = (0.25, 0.5, 0.75)
ROWS_AT_ONCE = 256


def sensitivity(
    model: keras.Model,
    data: Dataset,
    *,
    by: str | Criterion = "l2",
    shares: Sequence[float] = SHARES,
    heal: bool = True,
    round_to: int = 8,
    floor: float = 0.1,
    keep: Sequence[str] = (),
    kinds: Sequence[str] | None = None,
    samples: int = 512,
    seed: int = 0,
) -> tuple[Sensitivity, ...]:
    """Measure, group by group, the loss against the share of the group that is removed.

    Args:
        model: a built model; it is untouched.
        data: criteria and healing see training rows, the loss is that of validation rows.
        by: which units of a group go first.
        shares: the shares of a group's units to remove, as near as `round_to` allows.
        heal: whether to look at the loss after healing as well.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        keep: patterns of layers whose units stay.
        kinds: what may go (see `plan`).
        samples: how many rows of either split are looked at.
        seed: which rows these are.

    Returns:
        A curve for each group (of those that have to be of one width, for the first), in the
        order of the model. The loss is the cross-entropy or the mean squared error.

    Raises:
        PlanError: an option is wrong, nothing can be removed, a pattern matches nothing, or the
            criterion gives scores that are no numbers.
        DataError: data is no Dataset.
        ModelError: the model does not fit the data, or a loss is not a number.
    """
    check_dataset(data, "sensitivity is measured on", "sensitivity", model, labels=True)
    check_whole("sensitivity", 1, samples=samples)
    check_whole("sensitivity", 0, seed=seed)
    check_names("sensitivity", keep=keep)
    check_options("global", round_to, floor)
    wrong = [share for share in shares if not (is_number(share) and 0 < share < 1)]
    if wrong:
        raise PlanError(
            f"shares are numbers between 0 and 1, received {wrong[0]!r}.",
            where="sensitivity.shares",
            mend="0.5 is half of the units.",
        )
    graph = trace(model)
    allowed = kinds_of(graph, kinds)
    rank = criterion(by)
    x, y = data.train.sample(samples, seed=seed)
    stats: Any = observe(graph, (x, y), needs=needed(rank), seed=seed)
    groups = [sparing(group, keep) for group in graph.groups if group.kind in allowed]
    scores = {group.name: scores_of(rank, group, stats) for group in groups}
    plans = alone(graph, scores, shares, round_to=round_to, floor=floor, held=held_by(graph, keep))
    split = data.validation if data.validation.rows else data.train
    judged = split.sample(samples, seed=seed)
    whole = loss_of(graph.model, *judged)
    curves = []
    for name, made in plans.items():
        losses: list[tuple[float, float]] = []
        for each in made:
            smaller = cut(model, each)
            as_cut = loss_of(smaller, *judged)
            if heal:
                smaller, _ = healed_by(smaller, model, each, x, seed=seed)
            losses.append((as_cut, loss_of(smaller, *judged) if heal else as_cut))
        first = made[0].cuts[0]
        curves.append(
            Sensitivity(
                group=name,
                members=tuple(entry.group for entry in made[0].cuts),
                units=first.units,
                removed=tuple(len(each.cuts[0].remove) for each in made),
                cut=tuple(loss for loss, _ in losses),
                healed=tuple(loss for _, loss in losses),
                whole=whole,
            )
        )
    return tuple(curves)


def loss_of(model: keras.Model, x: Any, y: np.ndarray) -> float:
    """Return the mean loss of a model on rows with labels.

    Raises:
        ModelError: it is not a number.
    """
    loss = loss_for(model, y)
    total = 0.0
    for start in range(0, len(y), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        piece: Any = keras.tree.map_structure(lambda array, rows=rows: array[rows], x)
        truth = y[rows].reshape(-1, 1) if model.output_shape[-1] == 1 else y[rows]
        total += float(to_numpy(loss(truth, model(piece, training=False)))) * len(y[rows])
    if not np.isfinite(total):
        raise ModelError(
            "the loss is not a number.", where=model.name, mend="Check the inputs and the labels."
        )
    return total / len(y)
