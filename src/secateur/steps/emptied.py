"""Units that masks have left empty: found in a graph, switched off, and cut for real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import tree

from secateur.errors import ModelError, PlanError
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.planning.plan import GroupCut, Plan
from secateur.steps.cutting import cut
from secateur.steps.masks import mask

if TYPE_CHECKING:
    from secateur.graph.graph import Graph, Group, Slice

# The weights that lift the output of a unit off zero, and those that scale it.
_SHIFTS = ("bias", "beta", "gamma")
TOLERANCE = 1e-5


def shifts(graph: Graph) -> tuple[str, ...]:
    """Return the keys of the trainable biases, gammas and betas of units that may go."""
    return tuple(
        dict.fromkeys(
            part.weight
            for group in _groups(graph)
            for part in group.slices
            if _is_shift(part) and graph.variables[part.weight].trainable
        )
    )


def switched_off(graph: Graph, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return masks for biases, gammas and betas: zero for units whose kernels are all zero.

    Args:
        graph: a traced model.
        values: the weights by key.
    """
    found: dict[str, np.ndarray] = {}
    for group in _groups(graph):
        empty = _all_zero(group, values, lambda part: _writes(part) and not _is_shift(part))
        for part in group.slices if (empty & group.free).any() else ():
            if _is_shift(part) and graph.variables[part.weight].trainable:
                keep = found.setdefault(part.weight, np.ones(values[part.weight].shape, bool))
                gone = (part.unit >= 0) & (empty & group.free)[part.unit]
                np.moveaxis(keep, part.axis, 0)[gone] = False
    return found


def empty_units(graph: Graph, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return, for each group by name, which units make nothing or are read by nothing.

    Args:
        graph: a traced model.
        values: the weights by key.
    """
    found = {}
    for group in _groups(graph):
        silent = _all_zero(group, values, lambda part: _writes(part) and not _is_shift(part))
        silent &= _all_zero(group, values, _is_shift, at_least=0)
        unheard = _all_zero(group, values, _reads)
        gone = (silent | unheard) & group.free
        if gone.any():
            found[group.name] = gone
    return found


def cut_empty(model: keras.Model, x: Any, *, round_to: int) -> tuple[keras.Model, tuple[Plan, ...]]:
    """Return a model without its empty units, and the plans that it was cut by, if any.

    Whether units are empty is tried, not believed: a group stays where the model without its empty
    units gives anything else. What only a unit that went has read is empty in its turn.

    Args:
        model: a model with zeros; it is untouched.
        x: rows to compare the outputs on.
        round_to: kept widths are multiples of it; the empty units that this takes stay.
    """
    plans: list[Plan] = []
    while (found := _cut_once(model, x, round_to)) is not None:
        model = found[0]
        plans.append(found[1])
    return model, tuple(plans)


def _cut_once(model: keras.Model, x: Any, round_to: int) -> tuple[keras.Model, Plan] | None:
    graph = trace(model)
    values = {key: to_numpy(variable) for key, variable in graph.variables.items()}
    empty = empty_units(graph, values)
    cuts = cuts_of(graph, _groups(graph), empty, round_to, "masks have left them empty")
    expected = outputs(model, x)
    whole = _tried(model, plan_of(graph, cuts), x, expected)
    if whole is not None or len(cuts) < 2:
        return whole
    alone = [(entry,) for entry in cuts if not any(entry.group in names for names in graph.alike)]
    alone += [tuple(entry for entry in cuts if entry.group in names) for names in graph.alike]
    good = [
        entry
        for some in alone
        if some and close(outputs(mask(model, plan_of(graph, some)), x), expected)
        for entry in some
    ]
    return _tried(model, plan_of(graph, tuple(good)), x, expected)


def _tried(
    model: keras.Model, plan: Plan, x: Any, expected: list[np.ndarray]
) -> tuple[keras.Model, Plan] | None:
    if not plan.cuts:
        return None
    try:
        smaller = cut(model, plan)
    except (PlanError, ModelError):
        return None
    return (smaller, plan) if close(outputs(smaller, x), expected) else None


def cuts_of(
    graph: Graph,
    groups: Iterable[Group],
    empty: Mapping[str, np.ndarray],
    round_to: int,
    reason: str,
) -> tuple[GroupCut, ...]:
    """Return what groups give when their empty units go, as far as rounding lets them.

    Args:
        graph: a traced model.
        groups: those of its groups that may give.
        empty: for each group by name, which units are empty.
        round_to: kept widths are multiples of it, those of blocks aside.
        reason: why they go.
    """
    cuts = []
    for group in groups:
        gone = empty.get(group.name, np.zeros(len(group), bool)).copy()
        for line in group.lines:
            # Of every axis, something stays.
            if gone[line].all():
                gone[line[0]] = False
        remove = np.flatnonzero(gone)
        left = max(len(group) - len(remove), 1)
        step = 1 if group.kind == "block" else round_to
        kept = -(-left // step) * step
        remove = remove[: max(len(group) - kept, 0)]
        if len(remove):
            cuts.append(
                GroupCut(
                    group.name,
                    group.members,
                    len(group),
                    tuple(remove.tolist()),
                    reason,
                )
            )
    return _together(graph, tuple(cuts))


def _together(graph: Graph, cuts: tuple[GroupCut, ...]) -> tuple[GroupCut, ...]:
    """Give the same width to groups of which one number says the width."""
    for names in graph.alike:
        least = min(len(next((c.remove for c in cuts if c.group == n), ())) for n in names)
        cuts = tuple(
            GroupCut(c.group, c.members, c.units, c.remove[:least], c.reason)
            if c.group in names
            else c
            for c in cuts
        )
    return tuple(entry for entry in cuts if entry.remove)


def plan_of(
    graph: Graph,
    cuts: tuple[GroupCut, ...],
    *,
    asked: Mapping[str, float] | None = None,
    by: str = "empty",
) -> Plan:
    """Return the plan of what groups give.

    Args:
        graph: a traced model.
        cuts: what each group gives.
        asked: the budget, if there was one.
        by: what said which units go.
    """
    groups = {group.name: group for group in graph.groups}
    keep = graph.everything()
    for entry in cuts:
        keep[groups[entry.group].units[list(entry.remove)]] = False
    return Plan(
        model=graph.model.name,
        fingerprint=graph.fingerprint(),
        asked=asked or {},
        by=by,
        cuts=cuts,
        before={"macs": graph.macs(), "parameters": graph.parameters()},
        after={"macs": graph.macs(keep), "parameters": graph.parameters(keep)},
    )


def _groups(graph: Graph) -> list[Group]:
    return [group for group in graph.groups if group.kind != "block"]


def _is_shift(part: Slice) -> bool:
    return part.role in ("write", "pass") and part.weight.rpartition("/")[2] in _SHIFTS


def _writes(part: Slice) -> bool:
    return part.role == "write" and not _is_feedback(part)


def _reads(part: Slice) -> bool:
    return part.role == "read" or _is_feedback(part)


def _is_feedback(part: Slice) -> bool:
    """Say whether a slice is the rows of a recurrent kernel: what other cells read of this one."""
    return part.weight.endswith("/recurrent_kernel") and part.axis == 0


def _all_zero(
    group: Group, values: Mapping[str, np.ndarray], wanted: Any, *, at_least: int = 1
) -> np.ndarray:
    """Return for which units all wanted slices are zero, where there are any."""
    size = np.zeros(len(group))
    seen = np.zeros(len(group), int)
    for part in group.slices:
        if part.weight not in values or not wanted(part):
            continue
        array = np.abs(values[part.weight])
        line = array.max(axis=tuple(a for a in range(array.ndim) if a != part.axis), initial=0)
        mine = part.unit >= 0
        np.maximum.at(size, part.unit[mine], line[mine])
        np.add.at(seen, part.unit[mine], 1)
    return (size == 0) & (seen >= at_least)


def outputs(model: keras.Model, x: Any) -> list[np.ndarray]:
    """Return what a model gives for some rows."""
    return [to_numpy(each) for each in tree.flatten(model(x, training=False))]


def close(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    """Say whether outputs differ by rounding alone."""
    return all(
        one.shape == other.shape
        and bool((np.abs(one - other) <= TOLERANCE * np.maximum(1, np.abs(other))).all())
        for one, other in zip(found, expected, strict=True)
    )
