"""The plan: which units go, from where, why, and what that saves.

A plan is the single waist between deciding and cutting. It is frozen, it is JSON, and making one
changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from secateur.errors import BudgetError, PlanError
from secateur.files import write_whole
from secateur.planning import budget as allocation
from secateur.planning.criteria import Criterion, criterion, needed


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
        except (ValueError, TypeError, KeyError, AttributeError) as error:
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
            left = cut.units - len(cut.remove)
            lines.append(f"  {cut.group}{others}: {cut.units} -> {left}; {cut.reason}")
        lines += [f"  kept whole: {pin}" for pin in self.pins]
        return "\n".join(lines)


def plan(
    graph: Any,
    stats: Any,
    *,
    macs: float | None = None,
    params: float | None = None,
    ratio: float | None = None,
    by: str | Criterion = "l2",
    scope: str = "global",
    round_to: int = 8,
    floor: float = 0.1,
    keep: Sequence[str] = (),
) -> Plan:
    """Decide which units go, so that a budget holds. Nothing is changed.

    Exactly one budget is given.

    Args:
        graph: a traced model.
        stats: what `observe` gathered for the criterion.
        macs: the share of the multiply-adds that may be left, between 0 and 1.
        params: the share of the parameters that may be left, between 0 and 1.
        ratio: the share of the units that goes, between 0 and 1.
        by: a criterion's name, or a function `(group, stats) -> scores`.
        scope: `global` lets groups compete, least score per saved cost first; `local` takes the
            same share from each.
        round_to: kept widths are multiples of it; CPU runtimes compute channels in eights.
        floor: the smallest share of a group that stays.
        keep: patterns (`fnmatch`) of layers whose units stay.

    Raises:
        BudgetError: the budget is out of range or cannot be met; the best that can is named.
        PlanError: nothing can be removed, a pattern matches nothing, or the statistics lack what
            the criterion needs.
    """
    name, share = _budget(macs=macs, params=params, ratio=ratio)
    _check_options(scope, round_to, floor)
    if not graph.groups:
        raise PlanError(
            "nothing in this model can be removed.",
            where=graph.model.name,
            mend="; ".join(_pins(graph)[:3]) or "It has no layer with hidden units.",
        )
    rank = criterion(by)
    missing = needed(rank) - stats.gathered
    if missing:
        raise PlanError(
            f"{_name(by)} needs {', '.join(sorted(missing))}, which was not gathered.",
            mend="Pass data: observe(graph, data, needs={'taylor'}).",
        )
    held = _held(graph, keep)
    scores = {group.name: _scores(rank, group, stats) for group in graph.groups}
    paper = allocation.Shrinking(graph, scores, _price(graph, name), round_to, floor, held)
    limit = share * paper.total
    shrink = allocation.shrink_globally if scope == "global" else allocation.shrink_locally
    shrink(paper, limit)
    pins = _pins(graph)
    allocation.check_budget(paper, limit, name, pins)
    allocation.give_back(paper, limit)
    return _finished(graph, paper, {name: 1 - share if name == "ratio" else share}, _name(by), pins)


def _finished(
    graph: Any, paper: allocation.Shrinking, asked: dict[str, float], by: str, pins: list[str]
) -> Plan:
    cuts = []
    keep = graph.everything()
    for group in graph.groups:
        gone = paper.removed(group.name)
        if len(gone):
            keep[group.units[gone]] = False
            reason = f"lowest {len(gone)} by {by}"
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


def _budget(**given: float | None) -> tuple[str, float]:
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


def _check_options(scope: str, round_to: int, floor: float) -> None:
    if scope not in ("global", "local"):
        raise PlanError(
            f"scope must be 'global' or 'local', received {scope!r}.",
            where="scope",
            mend="Use one.",
        )
    if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
        raise PlanError(
            f"round_to must be a whole number from 1, received {round_to!r}.",
            where="round_to",
            mend="8 suits CPU runtimes; 1 allows every width.",
        )
    if not 0 <= floor < 1:
        raise PlanError(
            f"floor must be a share from 0 to below 1, received {floor!r}.",
            where="floor",
            mend="0.1 leaves at least a tenth of every group.",
        )


def _held(graph: Any, patterns: Sequence[str]) -> frozenset[str]:
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
        held |= matched & {group.name for group in graph.groups}
    return frozenset(held)


def _scores(rank: Criterion, group: Any, stats: Any) -> np.ndarray:
    scores = np.asarray(rank(group, stats), dtype=np.float64)
    if scores.shape != (len(group),) or not np.isfinite(scores).all():
        raise PlanError(
            f"a criterion must give one finite score a unit; for {len(group)} units it gave "
            f"{'values that are not finite' if scores.shape == (len(group),) else scores.shape}.",
            where=group.name,
            mend="Return an array of shape (len(group),).",
        )
    return scores


def _price(graph: Any, name: str) -> dict[str, float] | None:
    if name == "ratio":
        return None
    if name == "macs":
        return {part.key: part.uses for part in (*graph.weights.values(), *graph.products)}
    return dict.fromkeys(graph.weights, 1.0) | {part.key: 0.0 for part in graph.products}


def _pins(graph: Any) -> list[str]:
    said: dict[str, None] = {}
    for group in (*graph.groups, *graph.fixed):
        # That inputs and outputs stay goes without saying.
        if not {"model input", "model output"} & set(group.pins):
            said |= {f"{group.name}: {reason}": None for reason in group.pins}
    return list(said)


def _name(by: str | Criterion) -> str:
    return by if isinstance(by, str) else getattr(by, "__name__", type(by).__name__)
