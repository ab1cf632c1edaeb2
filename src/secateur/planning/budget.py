"""How many units each group gives, so that a budget holds.

Groups shrink by chunks: from one allowed width to the next lower one, the units of lowest score
first. Costs are exact: a chunk's saving is computed from the shapes that every weight then has.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from secateur.errors import BudgetError
from secateur.planning.losses import losses_of
from secateur.planning.prices import Price

# By this share a plan may fall short of its budget before other chunks are tried in its place.
_ROOM = 0.02


@dataclass
class Shrinking:
    """A model on paper that shrinks chunk by chunk.

    Args:
        graph: the traced model.
        among: those of its groups that may shrink.
        scores: for each group by name, one score a unit.
        price: what each weight costs at any lengths (multiply-adds, elements, bytes, measured
            milliseconds); `None` prices every unit alike.
        step: the multiple that kept widths are rounded to, those of blocks aside.
        floor: the smallest share of a group that stays.
        held: the names of groups that stay whole.
        additive: whether scores add up as they are, because they were measured so. By default what
            is left of a group has to do the work of all of it (see `losses_of`).
        begun: how many units groups had before earlier cuts, by name: the floor is a share of
            these. By default those that they have.
    """

    graph: Any
    among: Sequence[Any]
    scores: Mapping[str, np.ndarray]
    price: Price | None
    step: int
    floor: float
    held: frozenset[str] = frozenset()
    additive: bool = False
    begun: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.groups = {group.name: group for group in self.among}
        self.together = {name: (name,) for name in self.groups}
        for names in self.graph.alike:
            if set(names) <= self.groups.keys():
                self.together |= dict.fromkeys(names, names)
            else:
                self.held |= set(names)
        self.order = {name: self._order(group) for name, group in self.groups.items()}
        self.losses = {
            name: losses_of(self.scores[name][order], additive=self.additive)
            for name, order in self.order.items()
        }
        self.kept = {name: len(group) for name, group in self.groups.items()}
        self.widths = {name: self._widths(group) for name, group in self.groups.items()}
        self.lengths = {w.key: list(w.shape) for w in self._priced()}
        self.widths = {
            name: [
                w for w in widths if all(w in self.widths[other] for other in self.together[name])
            ]
            for name, widths in self.widths.items()
        }
        self.places = {name: self._places(group) for name, group in self.groups.items()}
        self.total = self.cost = self._full()

    @property
    def leaders(self) -> list[str]:
        """Return one name of each set of groups that are of one width; most are alone."""
        return list(dict.fromkeys(names[0] for names in self.together.values()))

    def next_wider(self, name: str) -> int | None:
        """Return the next width up that a group may have, if there is one."""
        place = self.widths[name].index(self.kept[name])
        return self.widths[name][place - 1] if place else None

    def narrower(self, name: str) -> list[int]:
        """Return the lower widths among which the best is looked for; most often that is one."""
        after = self.widths[name][self.widths[name].index(self.kept[name]) + 1 :]
        reach = self.kept[name] - (1 if self.price is None else self.price.step)
        return after[:1] + [width for width in after[1:] if width >= reach]

    def importance(self, name: str, width: int) -> float:
        """Return what the units between the width now and another one are worth together."""
        low, high = sorted(len(self.groups[name]) - each for each in (self.kept[name], width))
        losses = (self.losses[each] for each in self.together[name])
        return float(sum(loss[high] - loss[low] for loss in losses))

    def saving(self, name: str, width: int) -> float:
        """Return what the model costs less when a group shrinks to a width."""
        if self.price is None:
            return (self.kept[name] - width) * len(self.together[name])
        saved = 0.0
        for key, changes in self._changes(name, width).items():
            lengths = self.lengths[key]
            after = list(lengths)
            for axis, change in changes:
                after[axis] += change
            saved += self.price.cost(key, lengths) - self.price.cost(key, after)
        return saved

    def resize(self, name: str, width: int) -> None:
        """Shrink a group, or let it grow back."""
        self.cost -= self.saving(name, width)
        for key, changes in self._changes(name, width).items():
            for axis, change in changes:
                self.lengths[key][axis] += change
        self.kept |= dict.fromkeys(self.together[name], width)

    def removed(self, name: str) -> np.ndarray:
        """Return the indices, in the group, of the units that are gone."""
        count = len(self.groups[name]) - self.kept[name]
        return np.sort(self.order[name][:count])

    def lost(self) -> float:
        """Return what all units that are gone were worth."""
        return sum(self.importance(name, len(group)) for name, group in self.groups.items())

    def is_moot(self, name: str) -> bool:
        """Say whether all that a group's units live in is gone for other reasons."""
        slices = self.groups[name].slices
        return bool(slices) and all(
            any(
                length == 0 and axis != part.axis
                for axis, length in enumerate(self.lengths[part.weight])
            )
            for part in slices
        )

    def _priced(self) -> list[Any]:
        return [*self.graph.weights.values(), *self.graph.products]

    def _widths(self, group: Any) -> list[int]:
        """Return the widths that a group may have, from its own down."""
        whole = len(group)
        if group.name in self.held:
            return [whole]
        pinned = int(np.count_nonzero(np.isinf(self._ranked(group))))
        least = self.floor * self.begun.get(group.name, whole)
        lowest = max(pinned, int(np.ceil(least - 1e-9)), 1)
        step = 1 if group.kind == "block" else self.step
        rounded = range(whole // step * step, lowest - 1, -step)
        return [whole, *(width for width in rounded if width < whole)]

    def _order(self, group: Any) -> np.ndarray:
        return np.argsort(self._ranked(group), kind="stable")

    def _ranked(self, group: Any) -> np.ndarray:
        """Return the scores, infinite for units that must stay."""
        scores = np.where(group.free, self.scores[group.name], np.inf)
        for line in sorted(group.lines, key=len):
            if np.isfinite(scores[line]).all():
                # The best of what alone makes up an axis stays, so that none is emptied.
                scores[line[np.argmax(scores[line])]] = np.inf
        return scores

    def _places(self, group: Any) -> dict[str, list[tuple[int, np.ndarray]]]:
        """Return, for each weight, the group's axes and how many positions the first units take."""
        found: dict[str, list[tuple[int, np.ndarray]]] = {}
        for part in group.slices:
            counts = np.bincount(part.unit[part.unit >= 0], minlength=len(group))
            running = np.concatenate([[0], np.cumsum(counts[self.order[group.name]])])
            found.setdefault(part.weight, []).append((part.axis, running))
        return found

    def _changes(self, name: str, width: int) -> dict[str, list[tuple[int, int]]]:
        gone = len(self.groups[name]) - self.kept[name]
        then = len(self.groups[name]) - width
        changes: dict[str, list[tuple[int, int]]] = {}
        for each in self.together[name]:
            for key, places in self.places[each].items():
                changed = [(axis, int(running[gone] - running[then])) for axis, running in places]
                changes.setdefault(key, []).extend(changed)
        return changes

    def _full(self) -> float:
        if self.price is None:
            return sum(len(group) for group in self.groups.values())
        return sum(self.price.cost(weight.key, weight.shape) for weight in self._priced())


def shrink_globally(paper: Shrinking, budget: float) -> None:
    """Remove chunks, least loss per saved cost first, until the budget holds.

    A chunk's saving only falls while other groups shrink, so a chunk that still comes first after
    its saving is computed anew is the best of all (lazy greedy; Shen et al. 2022, "HALP").
    """
    heap = [entry for name in paper.leaders if (entry := _entry(paper, name))]
    heapq.heapify(heap)
    while paper.cost > budget:
        if not heap:
            return
        _, name, _ = heapq.heappop(heap)
        fresh = _entry(paper, name)
        if fresh is None:
            continue
        if heap and fresh > heap[0]:
            heapq.heappush(heap, fresh)
            continue
        paper.resize(name, fresh[2])
        following = _entry(paper, name)
        if following:
            heapq.heappush(heap, following)


def shrink_locally(paper: Shrinking, budget: float) -> None:
    """Remove the same share of every group: the smallest share with which the budget holds."""
    shares = sorted(
        {
            1 - width / len(group)
            for name, group in paper.groups.items()
            for width in paper.widths[name]
        }
    )
    low, high = 0, len(shares) - 1
    while low < high:
        middle = (low + high) // 2
        _set_share(paper, shares[middle])
        low, high = (low, middle) if paper.cost <= budget else (middle + 1, high)
    _set_share(paper, shares[low])


def shrink_by_class(paper: Shrinking, budget: float, classes: Mapping[str, int]) -> None:
    """Remove the same share of the units of every class: the smallest with which the budget holds.

    Within a class chunks go least loss per saved cost first, as they do when no other class
    shrinks: so the order in a class does not depend on the share.

    Args:
        paper: the model on paper, whole.
        budget: what may be left.
        classes: the class of each group, by name.
    """
    orders = []
    for number in dict.fromkeys(classes[name] for name in paper.leaders):
        mine = [name for name in paper.leaders if classes[name] == number]
        count = sum(len(paper.groups[name]) for name in mine)
        orders.append((mine, count, _order_alone(paper, mine)))
    shares = sorted({0.0, *(gone / count for _, count, order in orders for gone, *_ in order)})

    def set_share(share: float) -> None:
        for mine, count, order in orders:
            widths = {name: len(paper.groups[name]) for name in mine}
            for gone, name, width in order:
                if gone <= share * count + 1e-9:
                    widths[name] = width
            for name, width in widths.items():
                paper.resize(name, width)

    low, high = 0, len(shares) - 1
    while low < high:
        middle = (low + high) // 2
        set_share(shares[middle])
        low, high = (low, middle) if paper.cost <= budget else (middle + 1, high)
    set_share(shares[low])


def take_instead(paper: Shrinking, budget: float) -> None:
    """Let chunks come back where smaller ones of other groups serve as well and matter less.

    The last chunk that goes may save far more than is asked: a block always may, and any chunk of
    a small model.
    """
    for name in paper.leaders:
        group = paper.groups[name]
        while paper.kept[name] < len(group) and (
            group.kind == "block" or paper.cost < (1 - _ROOM) * budget
        ):
            kept, allowed, lost = dict(paper.kept), paper.widths[name], paper.lost()
            width = paper.next_wider(name)
            assert width is not None
            paper.resize(name, width)
            paper.widths[name] = [each for each in allowed if each >= width]
            shrink_globally(paper, budget)
            give_back(paper, budget)
            if paper.cost > budget or paper.lost() >= lost:
                for other, before in kept.items():
                    paper.resize(other, before)
                paper.widths[name] = allowed
                break


def give_back(paper: Shrinking, budget: float) -> None:
    """Let groups grow again where the budget has room, the most important chunk first."""
    while True:
        fitting = []
        for name in paper.leaders:
            width = paper.next_wider(name)
            if width is not None and paper.cost - paper.saving(name, width) <= budget:
                fitting.append((paper.importance(name, width), name, width))
        if not fitting:
            return
        _, name, width = max(fitting)
        paper.resize(name, width)


def check_budget(paper: Shrinking, budget: float, what: str, pins: Sequence[str]) -> None:
    """Refuse a budget that could not be met.

    Raises:
        BudgetError: naming the least that can be reached, and what holds the rest.
    """
    if paper.cost <= budget:
        return
    held = f" Kept whole: {'; '.join(pins[:3])}." if pins else ""
    raise BudgetError(
        f"{what} cannot fall to {budget / paper.total:.1%} of the model: with every group at its "
        f"smallest allowed width {paper.cost / paper.total:.1%} is left.{held}",
        mend="Ask for less, or allow narrower layers (a smaller round_to or floor) or more kinds "
        "of units.",
    )


def _entry(paper: Shrinking, name: str) -> tuple[float, str, int] | None:
    """Return what a group loses per saved cost at best, its name, and the width that it then has.

    Of what is computed in blocks, a width in the middle of one saves nothing.
    """
    entries = []
    for width in paper.narrower(name):
        saving = paper.saving(name, width)
        value = paper.importance(name, width) / saving if saving > 0 else float("inf")
        entries.append((value, name, width))
    return min(entries, key=lambda entry: entry[0], default=None)


def _order_alone(paper: Shrinking, names: Sequence[str]) -> list[tuple[int, str, int]]:
    """Return how some groups shrink while all others are whole, and leave them whole.

    Returns:
        For each chunk, how many units are gone after it, and which group has then which width.
    """
    heap = [entry for name in names if (entry := _entry(paper, name))]
    heapq.heapify(heap)
    order, gone = [], 0
    while heap:
        _, name, _ = heapq.heappop(heap)
        fresh = _entry(paper, name)
        assert fresh is not None
        if heap and fresh > heap[0]:
            heapq.heappush(heap, fresh)
            continue
        gone += paper.kept[name] - fresh[2]
        paper.resize(name, fresh[2])
        order.append((gone, name, fresh[2]))
        following = _entry(paper, name)
        if following:
            heapq.heappush(heap, following)
    for name in names:
        paper.resize(name, len(paper.groups[name]))
    return order


def _set_share(paper: Shrinking, share: float) -> None:
    for name in paper.leaders:
        goal = (1 - share) * len(paper.groups[name])
        allowed = [width for width in paper.widths[name] if width >= goal - 1e-9]
        paper.resize(name, min(allowed))
