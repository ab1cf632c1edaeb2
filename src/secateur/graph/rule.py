"""What an operation does with the units of its input, as data: one rule a type, written once.

A rule is read by everything that needs to know: the sweep that finds units, the cut that resizes
layers, the masks, and the count of multiply-adds. A rule for a layer of one's own is one function::

    from secateur.graph import rule

    @rule.register(MyDense)
    def _(layer):
        return rule.Flow(reads={"kernel": -2}, writes={"kernel": -1, "bias": 0}, size="units",
                         macs={"kernel": "output"})

A type without a rule gets `Pin`: what it touches is kept whole, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Literal

Per = Literal["input", "output", "step"]


@dataclass(frozen=True)
class At:
    """An axis of a weight, each unit of which holds `repeat` neighbours, the whole `tile` times.

    The gates of a recurrent cell lie side by side: `At(-1, tile=4)` in an LSTM.
    """

    axis: int
    repeat: int = 1
    tile: int = 1


Where = int | At | tuple["int | At", ...]


@dataclass(frozen=True)
class Flow:
    """A layer that reads the units of its input's feature axis and writes those of its output's.

    Weights are named as in `layer.weights`; those that a layer does not have are passed over.

    Args:
        reads: for each weight, the axis that the input's units index.
        writes: for each weight, the axis that the output's units index.
        size: the config entry that holds the number of output units; `None` where the layer takes
            it from its input.
        mints: whether the output units are new. A layer that mints none passes its input's on
            (a normalisation, a depthwise convolution).
        axis: the feature axis of input and output.
        groups: the number of groups that input and output channels fall into. The j-th channels
            of all groups are one unit, so that every group shrinks alike.
        repeat: how many neighbouring output positions each input unit gives when none is minted.
        macs: for each weight that multiplies, how often each of its elements is used: once per
            position of the `output` or of the `input`, or once per time `step`.
        mixes: whether the layer computes across the units (as LayerNormalization does), so that a
            cut changes what the remaining ones become.
        pointwise: whether every position along the other axes is treated alone, so that units on
            them pass.
        states: whether further inputs are states that carry the output's units.
        keeps: why the output units may not be removed, if so.
    """

    reads: Mapping[str, Where] = field(default_factory=dict)
    writes: Mapping[str, Where] = field(default_factory=dict)
    size: str | None = None
    mints: bool = True
    axis: int = -1
    groups: int = 1
    repeat: int = 1
    macs: Mapping[str, Per] = field(default_factory=dict)
    mixes: bool = False
    pointwise: bool = False
    states: bool = False
    keeps: str | None = None


@dataclass(frozen=True)
class Elementwise:
    """Each position of the output depends on the same position of every input (broadcast).

    Args:
        weights: the weights that have one element a position; their axes are those of the input
            without the batch axis, some of them of length one.
        fixed: axes that are computed across (as by a softmax), and so may not shrink.
        reason: why they may not.
        mixes: the axis that the operation normalises across, so that a cut changes what the
            remaining units become.
    """

    weights: tuple[str, ...] = ()
    fixed: tuple[int, ...] = ()
    reason: str | None = None
    mixes: int | None = None


@dataclass(frozen=True)
class Pool:
    """The feature axis passes; along the others values are reduced, padded, cropped, resampled."""

    axis: int = -1


@dataclass(frozen=True)
class Move:
    """Values are moved and nothing is computed: the operation itself is run on the ids.

    Args:
        shape: the config entry that states the output's shape, rewritten when it shrinks.
        batch: whether that entry counts the batch axis.
        reduces: axes that the operation sums, averages or takes the largest over; `None` in it
            stands for all of them.
        counts: axes along which the operation counts positions (a roll by three, every second),
            so that units on them must stay; `None` in it stands for all of them.
        moved: how many of its tensors it moves, if not all; the others say where to.
        adds: whether what it reduces is summed, so that units may be missing from the sum.
    """

    shape: str | None = None
    batch: bool = False
    reduces: tuple[int | None, ...] = ()
    counts: tuple[int | None, ...] = ()
    moved: int | None = None
    adds: bool = False


@dataclass(frozen=True)
class Contract:
    """A product of tensors and weights, its axes labelled as in Einstein's notation.

    An ellipsis stands for any number of leading axes, an underscore for an axis of length one.

    Args:
        inputs: the labels of each input; further inputs (a mask) are kept whole.
        output: the labels of the output.
        weights: the labels of each weight.
        products: the labels over which a multiply-add is done for each combination of positions;
            all labels if none are given.
        fixed: labels that are computed across (as by the softmax of an attention).
        shape: the config entry that states the output's shape without the batch axis.
        keeps: why the units that it makes may not be removed, if so.
    """

    inputs: tuple[str, ...]
    output: str
    weights: Mapping[str, str] = field(default_factory=dict)
    products: tuple[str, ...] = ()
    fixed: str = ""
    shape: str | None = None
    keeps: str | None = None


@dataclass(frozen=True)
class Open:
    """A composite layer, whose inner operations are followed.

    Layers without a rule are opened as well; this one says more about them.

    Args:
        ties: pairs of (weight, axis) whose units shrink alike, because one number of the config
            gives the length of both.
    """

    ties: tuple[tuple[tuple[Any, int], tuple[Any, int]], ...] = ()


@dataclass(frozen=True)
class Pin:
    """What the operation touches may not be removed, for this reason.

    Args:
        reason: why.
        unknown: whether that is for want of a rule; a composite layer is then opened if it can be.
    """

    reason: str
    unknown: bool = False


Rule = Flow | Elementwise | Pool | Move | Contract | Open | Pin


def expanded(labels: str, rank: int) -> str:
    """Write capital letters for an ellipsis; the last one is always the axis before the named."""
    named = labels.replace("...", "")
    if named == labels:
        return labels
    missing = rank - len(named)
    return labels.replace("...", "ABCDEFGH"[8 - missing :])


@singledispatch
def _rule(operation: Any) -> Rule:
    name = type(operation).__name__
    return Pin(f"{name} has no rule; register one with secateur.graph.rule.register", unknown=True)


def register(*types: type) -> Callable[[Callable[[Any], Rule]], Callable[[Any], Rule]]:
    """Register a function `layer -> Rule` for one or more types of layers or operations."""

    def decorate(function: Callable[[Any], Rule]) -> Callable[[Any], Rule]:
        for kind in types:
            _rule.register(kind, function)
        return function

    return decorate


def rule_of(operation: Any) -> Rule:
    """Return the rule of a Keras layer or operation.

    A subclass inherits the rule of the type it extends only while it does not override `call`:
    what an overriding method computes cannot be known.
    """
    kind = type(operation)
    home = next(base for base in kind.__mro__ if base in _rule.registry)
    if home not in (object, kind) and kind.call is not home.call:
        return Pin(
            f"{kind.__name__} overrides {home.__name__}.call; register a rule for it with "
            "secateur.graph.rule.register",
            unknown=True,
        )
    return _rule.dispatch(kind)(operation)
