"""How much the loss rises as one group alone gives up units, and scores that say the same.

Scores of a criterion are comparable inside of a group. A curve that was measured makes them so
between groups, in the unit of the loss, however wrong the criterion is about the group as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from secateur.errors import PlanError
from secateur.planning.budget import Shrinking
from secateur.planning.criteria import Criterion, GroupLike, StatsLike
from secateur.planning.plan import GroupCut, Plan
from secateur.planning.scoring import name_of, scores_of

# What units are told apart by where the loss does not rise, beside the steepest rise.
LEAST = 1e-3


@dataclass(frozen=True)
class Sensitivity:
    """The loss against the share of its units that one group gives up.

    Args:
        group: the name of the group.
        members: the names of all groups that have to be of its width.
        units: how many units it has.
        removed: how many of them went, ascending.
        cut: the loss right after each cut.
        healed: the loss after healing, the same as `cut` where it was not asked for.
        whole: the loss of the whole model.
    """

    group: str
    members: tuple[str, ...]
    units: int
    removed: tuple[int, ...]
    cut: tuple[float, ...]
    healed: tuple[float, ...]
    whole: float

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the shares of the units that went."""
        return tuple(count / self.units for count in self.removed)

    def __str__(self) -> str:
        points = zip(self.shares, self.cut, self.healed, strict=True)
        told = (f"{share:.0%} gone {cut:.3g}, healed {healed:.3g}" for share, cut, healed in points)
        return f"loss {self.whole:.3g} as it is; {'; '.join(told)}"


def alone(
    graph: Any,
    scores: Mapping[str, np.ndarray],
    shares: Iterable[float],
    *,
    round_to: int = 8,
    floor: float = 0.1,
    held: frozenset[str] = frozenset(),
) -> dict[str, list[Plan]]:
    """Return plans that each shrink one group alone, by its name, the gentlest first.

    Args:
        graph: a traced model.
        scores: for each group that may shrink, one score a unit.
        shares: which shares of the units go, as near as allowed widths come.
        round_to: kept widths are multiples of it.
        floor: the smallest share of a group that stays.
        held: the names of groups that stay whole.
    """
    among = [group for group in graph.groups if group.name in scores]
    paper = Shrinking(graph, among, scores, None, round_to, floor, held)
    found: dict[str, list[Plan]] = {}
    for name in paper.leaders:
        whole, *narrower = paper.widths[name]
        wanted = {
            min(narrower, key=lambda width: abs(1 - width / whole - share))
            for share in shares
            if narrower
        }
        for width in sorted(wanted, reverse=True):
            paper.resize(name, width)
            found.setdefault(name, []).append(_plan(graph, paper, name))
            paper.resize(name, whole)
    return found


def _plan(graph: Any, paper: Shrinking, name: str) -> Plan:
    cuts = tuple(
        GroupCut(
            each,
            paper.groups[each].members,
            len(paper.groups[each]),
            tuple(paper.removed(each).tolist()),
            "alone",
        )
        for each in paper.together[name]
    )
    return replace(Plan.empty(graph), cuts=cuts)


def calibrated(by: Criterion, curves: Iterable[Sensitivity]) -> Criterion:
    """Return a criterion that ranks as another does inside of a group, and as measured between.

    The scores of the units that went between two points of a curve sum up to the rise of the loss
    between them. Where a rise is less steep than the one before, both are evened out (the convex
    hull of the curve), so that a unit of lower score never costs more.

    Args:
        by: the criterion that the units of a group were removed by.
        curves: what was measured; scores of other groups are as `by` gives them.
    """
    known = {name: curve for curve in curves for name in curve.members}

    def scores(group: GroupLike, stats: StatsLike) -> np.ndarray:
        ranked = scores_of(by, group, stats)
        curve = known.get(group.name)
        if curve is None:
            return ranked
        if len(ranked) != curve.units:
            raise PlanError(
                f"its sensitivity was measured with {curve.units} units; now it has {len(ranked)}.",
                where=group.name,
                mend="Measure the sensitivity of this model.",
            )
        rises = _rises(curve) / len(curve.members)
        found = np.empty(len(ranked))
        found[np.argsort(ranked, kind="stable")] = rises
        return found

    scores.__name__ = f"{name_of(by)}, as measured"
    scores.needs = getattr(by, "needs", frozenset())  # type: ignore[attr-defined]
    scores.additive = True  # type: ignore[attr-defined]
    return scores


def _rises(curve: Sensitivity) -> np.ndarray:
    """Return what each unit adds to the loss, the first to go first; ascending."""
    removed = np.array([0, *curve.removed], dtype=float)
    rise = np.maximum.accumulate([0.0, *(loss - curve.whole for loss in curve.healed)])
    corners = _hull(removed, rise)
    slopes = np.diff(rise[corners]) / np.diff(removed[corners])
    place = np.searchsorted(removed[corners][1:], np.arange(curve.units), side="right")
    steps = slopes[np.minimum(place, len(slopes) - 1)]
    ramp = LEAST * max(float(slopes.max()), np.finfo(float).tiny) / curve.units
    return steps + ramp * np.arange(1, curve.units + 1)


def _hull(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Return the indices of the corners of the lower convex hull of points, x ascending."""
    corners: list[int] = []
    for index in range(len(x)):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (y[b] - y[a]) * (x[index] - x[a]) < (y[index] - y[a]) * (x[b] - x[a]):
                break
            corners.pop()
        corners.append(index)
    return corners
