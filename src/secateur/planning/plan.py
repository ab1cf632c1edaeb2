"""The plan: which units go, from where, why, and what that saves.

A plan is the single waist between deciding and cutting. It is frozen, it is JSON, and making one
changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from secateur.errors import PlanError
from secateur.files import write_whole
from secateur.planning import budget as allocation
from secateur.planning.classes import classes_of
from secateur.planning.criteria import Criterion, criterion, needed, needs_labels
from secateur.planning.options import (
    budget_of,
    check_options,
    check_table,
    held_by,
    kinds_of,
    pins_of,
    sparing,
)
from secateur.planning.prices import PerElement, Price
from secateur.planning.scoring import adds_up, name_of, scores_of

_NOT_A_PLAN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class GroupCut:
    """What one group gives.

    Args:
        group: the group's name.
        members: the layers that make its units.
        units: how many units it has.
        remove: the indices of those that go, ascending.
        reason: why these.
    """

    group: str
    members: tuple[str, ...]
    units: int
    remove: tuple[int, ...]
    reason: str

    @property
    def change(self) -> str:
        """Return how many units there were and are, in words."""
        noun = "blocks" if self.group.startswith("blocks of ") else "units"
        return f"{self.units} -> {self.units - len(self.remove)} {noun}"


@dataclass(frozen=True)
class Plan:
    """Which units go, from where and why.

    Args:
        model: the name of the model it was made for.
        fingerprint: the structure that it belongs to.
        asked: the budget, for example `{"macs": 0.5}`.
        by: the criterion's name.
        cuts: what each group gives; groups that give nothing are left out.
        before: multiply-adds and parameters as they are.
        after: multiply-adds and parameters as they will be.
        pins: what could not be considered, and why.
    """

    model: str
    fingerprint: str
    asked: Mapping[str, float]
    by: str
    cuts: tuple[GroupCut, ...]
    before: Mapping[str, int]
    after: Mapping[str, int]
    pins: tuple[str, ...] = ()

    @classmethod
    def empty(cls, graph: Any) -> Plan:
        """Return the plan that removes nothing."""
        costs = {"macs": graph.macs(), "parameters": graph.parameters()}
        return cls(graph.model.name, graph.fingerprint(), {}, "nothing", (), costs, costs)

    def keep(self, graph: Any) -> np.ndarray:
        """Return, for each unit of a graph, whether it stays.

        Raises:
            PlanError: the plan was made for another model.
        """
        groups = {group.name: group for group in graph.groups}
        if self.fingerprint != graph.fingerprint():
            raise PlanError(
                f"the plan was made for another model ({self.model}).",
                where=graph.model.name,
                mend="Make a plan for this model.",
            )
        keep = graph.everything()
        for cut in self.cuts:
            group = groups.get(cut.group)
            indices = np.array(cut.remove, dtype=int)
            if (
                group is None
                or len(indices) == 0
                or indices.min() < 0
                or indices.max() >= len(group)
            ):
                raise PlanError(
                    f"the plan removes units that group {cut.group!r} does not have.",
                    where=graph.model.name,
                    mend="Make the plan again; its file was changed by hand.",
                )
            emptied = len(np.unique(indices)) == len(group) or any(
                np.isin(line, indices).all() for line in group.lines
            )
            if emptied or not group.free[indices].all():
                raise PlanError(
                    f"the plan removes units of {cut.group!r} that must stay.",
                    where=graph.model.name,
                    mend="Make the plan again; its file was changed by hand.",
                )
            keep[group.units[indices]] = False
        return keep

    def to_json(self) -> str:
        """Return the plan as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str, *, where: object = None) -> Plan:
        """Read a plan back.

        Raises:
            PlanError: the text is not a plan.
        """
        try:
            raw = json.loads(text)
            cuts = tuple(
                GroupCut(
                    group=str(cut["group"]),
                    members=tuple(str(name) for name in cut["members"]),
                    units=int(cut["units"]),
                    remove=tuple(int(index) for index in cut["remove"]),
                    reason=str(cut["reason"]),
                )
                for cut in raw["cuts"]
            )
            return cls(
                model=str(raw["model"]),
                fingerprint=str(raw["fingerprint"]),
                asked={str(k): float(v) for k, v in raw["asked"].items()},
                by=str(raw["by"]),
                cuts=cuts,
                before={str(k): int(v) for k, v in raw["before"].items()},
                after={str(k): int(v) for k, v in raw["after"].items()},
                pins=tuple(str(pin) for pin in raw["pins"]),
            )
        except _NOT_A_PLAN as error:
            raise PlanError(
                f"this is not a plan ({type(error).__name__}: {error}).",
                where=where,
                mend="Write one with Plan.save or `secateur plan --out`.",
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the plan to a JSON file."""
        write_whole(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan from a JSON file.

        Raises:
            PlanError: the file is missing or is not a plan.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(
                "the plan cannot be read.", where=path, mend="Check the path."
            ) from error
        return cls.from_json(text, where=path)

    def explain(self) -> str:
        """Tell in words and numbers what goes, from where, and what it saves."""
        asked = ", ".join(f"{name}={value:g}" for name, value in self.asked.items()) or "nothing"
        lines = [f"{self.model}: asked {asked}, by {self.by}."]
        for name in ("macs", "parameters"):
            before, after = self.before[name], self.after[name]
            share = after / before if before else 1.0
            lines.append(f"  {name}: {before:,} -> {after:,} ({share:.1%} left)")
        for cut in self.cuts:
            others = f" (with {', '.join(cut.members[1:4])}" if len(cut.members) > 1 else ""
            others += f" and {len(cut.members) - 4} more" if len(cut.members) > 4 else ""
            others += ")" if others else ""
            if cut.group.startswith("blocks of "):
                others = ""
            lines.append(f"  {cut.group}{others}: {cut.change}; {cut.reason}")
        lines += [f"  kept whole: {pin}" for pin in self.pins]
        return "\n".join(lines)


def plan(
    graph: Any,
    stats: Any,
    *,
    macs: float | None = None,
    params: float | None = None,
    ratio: float | None = None,
    bytes: float | None = None,
    latency: float | None = None,
    table: Price | None = None,
    by: str | Criterion = "l2",
    scope: str = "global",
    round_to: int = 8,
    floor: float = 0.1,
    keep: Sequence[str] = (),
    kinds: Sequence[str] | None = None,
    widths: Mapping[str, int] | None = None,
) -> Plan:
    """Decide which units go, so that a budget holds. Nothing is changed.

    Exactly one budget is given.

    Args:
        graph: a traced model.
        stats: what `observe` gathered for the criterion.
        macs: the share of the multiply-adds that may be left, between 0 and 1.
        params: the share of the parameters that may be left, between 0 and 1.
        ratio: the share of the units that goes, between 0 and 1.
        bytes: the share of the weights' stored bytes that may be left, between 0 and 1.
        latency: the share of the time that may be left by `table`, between 0 and 1. What is left
            once the model is cut has to be measured: `plan_for_latency` does both.
        table: what a weight costs by its lengths, `cost(key, lengths)`, and as `step` up to which
            distance widths may cost the same; `latency_table` measures one.
        by: a criterion's name, or a function `(group, stats) -> scores`.
        scope: `global` lets groups compete, least loss per saved cost first, where a unit is missed
            the more, the less is left of its group; `local` takes the same share from each;
            `isomorphic` takes the same share from each class of groups that are built alike (of
            one kind, on the same axes of the same layers, sizes aside), and lets those of one
            class compete (Fang et al. 2024, "Isomorphic Pruning for Vision Models").
        round_to: kept widths are multiples of it; CPU runtimes compute channels in blocks. It
            does not apply to blocks.
        floor: the smallest share of a group that stays.
        keep: patterns (`fnmatch`) of layers whose units stay, and the blocks that they are in.
        kinds: what may go: any of `channel`, `stream`, `head`, `query-key`, `value`, `cell` and
            `block`. By default all but `block`: whole residual blocks go where they are asked
            for by name.
        widths: how many units groups had before earlier rounds, by name, for `floor`; by default
            those that they have.

    Raises:
        BudgetError: the budget is out of range or cannot be met; the best that can is named.
        PlanError: nothing can be removed, a pattern matches nothing, the model has no unit of a
            kind, or the statistics lack what the criterion needs.
    """
    name, share = budget_of(macs=macs, params=params, ratio=ratio, bytes=bytes, latency=latency)
    check_table(name, table)
    check_options(scope, round_to, floor)
    allowed = kinds_of(graph, kinds)
    rank = criterion(by)
    missing = needed(rank) - stats.gathered
    if missing:
        labels, names = needs_labels(rank), ", ".join(map(repr, sorted(needed(rank))))
        raise PlanError(
            f"{name_of(by)} needs {', '.join(sorted(missing))}, which was not gathered.",
            mend=f"Pass data {'with labels' if labels else '(no labels are needed)'}: "
            f"observe(graph, {'(x, y)' if labels else 'x'}, needs={{{names}}}).",
        )
    held = held_by(graph, keep)
    groups = [sparing(group, keep) for group in graph.groups if group.kind in allowed]
    scores = {group.name: scores_of(rank, group, stats) for group in groups}
    paper = allocation.Shrinking(
        graph,
        groups,
        scores,
        _price(graph, name, table),
        round_to,
        floor,
        held,
        adds_up(rank),
        widths or {},
    )
    if not paper.total:
        raise PlanError(
            f"the operations that can be followed have no {name}, so there is nothing to plan for.",
            where=graph.model.name,
            mend="Use ratio, or register rules for the layers that cannot be followed.",
        )
    limit = share * paper.total
    if scope == "global":
        allocation.shrink_globally(paper, limit)
    elif scope == "local":
        allocation.shrink_locally(paper, limit)
    else:
        allocation.shrink_by_class(paper, limit, classes_of(graph, groups))
    if scope == "global" and paper.cost <= limit:
        allocation.take_instead(paper, limit)
    pins = pins_of(graph, allowed)
    allocation.check_budget(paper, limit, name, pins)
    allocation.give_back(paper, limit)
    return _finished(
        graph, paper, {name: 1 - share if name == "ratio" else share}, name_of(by), pins
    )


def _finished(
    graph: Any, paper: allocation.Shrinking, asked: dict[str, float], by: str, pins: list[str]
) -> Plan:
    cuts = []
    keep = graph.everything()
    for group in paper.groups.values():
        gone = paper.removed(group.name)
        if len(gone) and not paper.is_moot(group.name):
            keep[group.units[gone]] = False
            reason = f"lowest {len(gone)} by {by}"
            if group.kind == "block":
                names = ", ".join(group.members[index] for index in gone)
                reason = f"block{'s' if len(gone) > 1 else ''} {names} removed, {reason}"
            cuts.append(
                GroupCut(group.name, group.members, len(group), tuple(gone.tolist()), reason)
            )
    return Plan(
        model=graph.model.name,
        fingerprint=graph.fingerprint(),
        asked=asked,
        by=by,
        cuts=tuple(cuts),
        before={"macs": graph.macs(), "parameters": graph.parameters()},
        after={"macs": graph.macs(keep), "parameters": graph.parameters(keep)},
        pins=tuple(pins),
    )


def _price(graph: Any, name: str, table: Price | None) -> Price | None:
    if name == "ratio":
        return None
    if name == "latency":
        return table
    if name == "macs":
        parts = (*graph.weights.values(), *graph.products)
        return PerElement({part.key: part.uses for part in parts})
    each = {
        key: 1.0 if name == "params" else _bytes_of(graph.variables[key]) for key in graph.weights
    }
    return PerElement(each | {part.key: 0.0 for part in graph.products})


def _bytes_of(variable: Any) -> float:
    """Return the bytes of an element; NumPy has no bfloat16 of its own."""
    name = str(variable.dtype)
    return 2.0 if name == "bfloat16" else float(np.dtype(name).itemsize)
