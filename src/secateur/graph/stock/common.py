"""What the rules of several families ask of a layer or operation."""

from __future__ import annotations

from typing import Any

from secateur.graph.pointwise import is_pointwise
from secateur.graph.rule import Elementwise, Pin, Rule

_POINTWISE = frozenset(
    """linear relu relu6 leaky_relu elu selu celu gelu silu swish sigmoid hard_sigmoid hard_silu
    hard_swish tanh hard_tanh tanh_shrink soft_shrink hard_shrink threshold softplus softsign mish
    exponential log_sigmoid squareplus sparse_plus sparse_sigmoid""".split()  # noqa: SIM905
)


def channels(layer: Any) -> int:
    """Return the axis of the channels of what has a `data_format`."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def mixing(layer: Any) -> str | None:
    """Say why the units of a layer may not be removed one by one because of its activation."""
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    if layer.activation is None or name in _POINTWISE or is_pointwise(layer.activation):
        return None
    return f"{name} over its units"


def axes_of(axis: Any) -> tuple[Any, ...]:
    """Return one axis, several of them or none as a tuple."""
    return tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)


def across(axis: Any, name: str) -> Rule:
    """Return the rule of what computes along an axis and gives each position a value of its own."""
    if axis is None:
        return Pin(f"{name} over all of its axes")
    return Elementwise(fixed=axes_of(axis), reason=f"{name} over its units")
