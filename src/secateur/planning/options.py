"""What is asked of a plan, checked against the model: budget, options, kinds, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import numpy as np

from secateur.errors import BudgetError, PlanError

SCOPES = ("global", "local", "isomorphic")
# `secateur.graph.kinds` tells what they are.
KINDS = ("channel", "stream", "head", "query-key", "value", "cell", "block")


def budget_of(**given: float | None) -> tuple[str, float]:
    """Return the one budget that is given, as a share that may be left."""
    named = [(name, value) for name, value in given.items() if value is not None]
    if len(named) != 1:
        received = ", ".join(name for name, _ in named) or "none"
        raise BudgetError(
            f"exactly one budget is needed, received {received}.",
            mend=f"Give one of {', '.join(given)}.",
        )
    ((name, value),) = named
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise BudgetError(
            f"{name} must be a share between 0 and 1, received {value!r}.",
            where=name,
            mend="0.5 is half.",
        )
    return name, 1 - value if name == "ratio" else float(value)


def check_table(name: str, table: Any) -> None:
    """Refuse a budget of latency without a table of it, and a table without that budget."""
    if name == "latency" and table is None:
        raise PlanError(
            "a budget of latency needs a table of what the layers cost, and none was given.",
            where="latency",
            mend="Pass table=latency_table(graph, runtime=...), or use plan_for_latency.",
        )
    if name != "latency" and table is not None:
        raise PlanError(
            f"a table of latencies was given with a budget of {name}.",
            where="table",
            mend="Give latency=, or leave the table out.",
        )


def check_options(scope: str, round_to: int, floor: float) -> None:
    """Refuse options out of range, by name."""
    if scope not in SCOPES:
        raise PlanError(
            f"scope must be one of {', '.join(map(repr, SCOPES))}, received {scope!r}.",
            where="scope",
            mend="Use one.",
        )
    if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
        raise PlanError(
            f"round_to must be a whole number from 1, received {round_to!r}.",
            where="round_to",
            mend="8 suits CPU runtimes; 1 allows every width.",
        )
    if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not 0 <= floor < 1:
        raise PlanError(
            f"floor must be a share from 0 to below 1, received {floor!r}.",
            where="floor",
            mend="0.1 leaves at least a tenth of every group.",
        )


def kinds_of(graph: Any, kinds: Sequence[str] | None) -> tuple[str, ...]:
    """Return the kinds of units that may go, those that the model has.

    Raises:
        PlanError: there is none, or no unit of a kind that was asked for.
    """
    has = tuple(dict.fromkeys(group.kind for group in graph.groups))
    by_default = tuple(kind for kind in has if kind != "block")
    if not has or (kinds is None and not by_default):
        pins = "; ".join(pins_of(graph)[:3]) or "It has no layer with hidden units."
        raise PlanError(
            "nothing in this model can be removed.",
            where=graph.model.name,
            mend="Let whole blocks go: kinds=('block',)." if has else pins,
        )
    if kinds is None:
        return by_default
    if isinstance(kinds, str) or not kinds:
        raise PlanError(
            f"kinds must be a tuple of names, received {kinds!r}.",
            where="kinds",
            mend=f"This model has {', '.join(has)}.",
        )
    wrong = [kind for kind in kinds if kind not in has]
    if wrong:
        raise PlanError(
            f"no unit of kind {', '.join(map(repr, wrong))} can be removed from this model.",
            where="kinds",
            mend=f"It has {', '.join(has)}.",
        )
    return tuple(kinds)


def sparing(group: Any, patterns: Sequence[str]) -> Any:
    """Return a group of which blocks stay that hold a layer of which all is to stay."""
    if not group.contents or not patterns:
        return group
    spared = [
        any(fnmatch(path, pattern) for path in paths for pattern in patterns)
        for paths in group.contents
    ]
    return replace(group, free=group.free & ~np.array(spared))


def held_by(graph: Any, patterns: Sequence[str]) -> frozenset[str]:
    """Return the names of the groups that patterns name, blocks aside.

    Raises:
        PlanError: a pattern matches nothing.
    """
    held: set[str] = set()
    for pattern in patterns:
        matched = {
            group.name
            for group in (*graph.groups, *graph.fixed)
            if any(fnmatch(member, pattern) for member in group.members)
        }
        if not matched:
            raise PlanError(
                f"the pattern {pattern!r} matches no layer that makes units.",
                where="keep",
                mend=f"Layers are named like {', '.join(g.name for g in graph.groups[:3])}.",
            )
        # Of blocks, those that a pattern names stay, and the others may go.
        held |= matched & {group.name for group in graph.groups if group.kind != "block"}
    return frozenset(held)


def pins_of(graph: Any, kinds: Sequence[str] | None = None) -> list[str]:
    """Return why units that could be of interest stay: those of blocks where blocks may go."""
    said: dict[str, None] = {}
    for group in (*graph.groups, *graph.fixed):
        if group.kind == "block" and "block" not in (kinds or ()):
            continue
        # That inputs and outputs stay goes without saying.
        if not {"model input", "model output"} & set(group.pins):
            said |= {f"{group.name}: {reason}": None for reason in group.pins}
    return list(said)
