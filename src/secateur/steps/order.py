"""Which step may come after which: what one leaves in the weights, a later one must not undo.

A step says with `leaves` what it leaves, and with `spares` what it lets be. One that says nothing
is taken at its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from secateur.errors import RecipeError

GRIDS = "weights on integer grids"
ZEROS = "zeros in the weights"
NOTHING: frozenset[str] = frozenset()


def check_order(steps: Sequence[Any], places: Sequence[str] | None = None) -> None:
    """Refuse steps of which one undoes what an earlier one did.

    Args:
        steps: the steps, in their order.
        places: where each of them stands, for the error.

    Raises:
        RecipeError: naming both.
    """
    # A chain is a step too.
    flat = [(i, each) for i, step in enumerate(steps) for each in getattr(step, "steps", (step,))]
    for (_, earlier), (index, later) in combinations(flat, 2):
        left = getattr(earlier, "leaves", None)
        if left is not None and not _spares(later, left):
            one, other = type(earlier).__name__, type(later).__name__
            back = getattr(later, "leaves", None)
            turned = one != other and (back is None or _spares(earlier, back))
            raise RecipeError(
                f"{one} leaves {left}, and {other} after it would undo that.",
                where=None if places is None else places[index],
                mend=f"Put {one} after {other}." if turned else _without(one, other),
            )


def _without(one: str, other: str) -> str:
    return f"Leave one {one} out." if one == other else f"Leave {one} or {other} out."


def _spares(step: Any, left: str) -> bool:
    return left in getattr(step, "spares", {left})
