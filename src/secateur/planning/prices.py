"""What a weight costs at any lengths of its axes: what a budget is reckoned in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol


class Price(Protocol):
    """What the products of a weight cost, by the lengths of its axes.

    More of a weight never costs less.
    """

    @property
    def step(self) -> int:
        """Widths that are closer than this may cost the same."""
        ...

    def cost(self, key: str, lengths: Sequence[int]) -> float:
        """Return what the weight costs when its axes have these lengths."""
        ...


@dataclass(frozen=True)
class PerElement:
    """A price that is the same for every element of a weight.

    Args:
        each: for each weight, what one element costs.
        step: every unit saves.
    """

    each: Mapping[str, float]
    step: int = 1

    def cost(self, key: str, lengths: Sequence[int]) -> float:
        """Return the price of all elements of a weight of these lengths."""
        return self.each[key] * prod(lengths)
