"""Which groups are built alike, so that their units may be ranked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def classes_of(graph: Any, groups: Sequence[Any]) -> dict[str, int]:
    """Return the class of each group, by name.

    Groups are of one class if their units are of one kind and live on the same axes of weights of
    the same names, in layers of the same types and in the same roles, sizes aside (Fang et al.
    2024, "Isomorphic Pruning for Vision Models"). Groups that one number gives the width of are of
    one class.

    Args:
        graph: a traced model.
        groups: those of its groups to tell apart.
    """
    types = {call.path: type(call.operation).__name__ for call in graph.calls}
    ranks = {key: len(weight.shape) for key, weight in graph.weights.items()}

    def pattern(group: Any) -> tuple[Any, ...]:
        places = []
        for part in group.slices:
            path, _, name = part.weight.rpartition("/")
            # Equal names on one path are numbered.
            name = name.partition("#")[0]
            rank = ranks.get(part.weight, 0)
            places.append((types.get(path, ""), name, rank, part.axis, part.role))
        # Blocks all count as alike: what is in them is their own affair.
        return group.kind, *(() if group.kind == "block" else sorted(places))

    numbers: dict[Any, int] = {}
    found = {group.name: numbers.setdefault(pattern(group), len(numbers)) for group in groups}
    for names in graph.alike:
        there = [name for name in names if name in found]
        found |= dict.fromkeys(there, found[there[0]])
    return found
