"""Layers that make units: dense, convolutional, recurrent, and those that hold such layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import layers

from secateur.graph.rule import (
    At,
    Contract,
    Elementwise,
    Flow,
    Open,
    Per,
    Pin,
    Pool,
    Rule,
    register,
    rule_of,
)
from secateur.graph.stock.common import channels, mixing

GATES = {layers.SimpleRNN: 1, layers.GRU: 3, layers.LSTM: 4}
CELLS = {layers.SimpleRNNCell: 1, layers.GRUCell: 3, layers.LSTMCell: 4}


@register(layers.Dense)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"kernel": -1, "bias": 0},
        size="units",
        macs={"kernel": "output"},
        pointwise=True,
        keeps=mixing(layer),
    )


@register(layers.EinsumDense)
def _(layer: Any) -> Rule:
    operands, _, output = layer.equation.replace(" ", "").partition("->")
    tensor, kernel = operands.split(",")
    weights = {"kernel": kernel}
    if layer.bias is not None:
        labels = [label if label in layer.bias_axes else "_" for label in output.replace(".", "")]
        weights["bias"] = "".join(labels)[-len(layer.bias.shape) :]
    return Contract((tensor,), output, weights=weights, shape="output_shape", keeps=mixing(layer))


@register(layers.Embedding)
def _(layer: Any) -> Rule:
    return Flow(writes={"embeddings": -1}, size="output_dim")


@register(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"kernel": -1, "bias": 0},
        size="filters",
        axis=channels(layer),
        groups=layer.groups,
        macs={"kernel": "output"},
        keeps=mixing(layer),
    )


@register(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -1},
        writes={"kernel": -2, "bias": 0},
        size="filters",
        axis=channels(layer),
        macs={"kernel": "input"},
        keeps=mixing(layer),
    )


@register(layers.SeparableConv1D, layers.SeparableConv2D)
def _(layer: Any) -> Rule:
    between = At(-2, repeat=layer.depth_multiplier)
    return Flow(
        reads={"depthwise_kernel": -2, "pointwise_kernel": between},
        writes={"pointwise_kernel": -1, "bias": 0},
        size="filters",
        axis=channels(layer),
        macs={"depthwise_kernel": "output", "pointwise_kernel": "output"},
        keeps=mixing(layer),
    )


@register(layers.SimpleRNN, layers.GRU, layers.LSTM)
def _(layer: Any) -> Rule:
    count = next(number for kind, number in GATES.items() if isinstance(layer, kind))
    return _gated(layer, count, size="units", axis=-1, per="step")


@register(layers.RNN)
def _(layer: Any) -> Rule:
    gates = CELLS.get(type(layer.cell))
    if gates is None:
        return Pin(f"RNN over {type(layer.cell).__name__} is not followed; use a layer each")
    return _gated(layer, gates, size="cell.config.units", axis=-1, per="step")


@register(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
def _(layer: Any) -> Rule:
    return _gated(layer, 4, size="filters", axis=channels(layer), per="output")


def _gated(layer: Any, gates: int, *, size: str, axis: int, per: Per) -> Flow:
    side_by_side = At(-1, tile=gates)
    return Flow(
        reads={"kernel": -2},
        writes={
            "kernel": side_by_side,
            "recurrent_kernel": (At(-2), side_by_side),
            "bias": side_by_side,
        },
        size=size,
        axis=axis,
        macs={"kernel": per, "recurrent_kernel": per},
        states=True,
        keeps=mixing(getattr(layer, "cell", layer)),
    )


@register(layers.TimeDistributed)
def _(layer: Any) -> Rule:
    rule = rule_of(layer.layer)
    if isinstance(rule, Flow) and rule.axis == -1:
        return replace(rule, size=rule.size and f"layer.config.{rule.size}")
    if isinstance(rule, (Elementwise, Pool)) and getattr(rule, "axis", -1) == -1:
        return rule
    return Pin(f"TimeDistributed over {type(layer.layer).__name__} is not followed")


@register(layers.SpectralNormalization)
def _(layer: Any) -> Rule:
    rule = rule_of(layer.layer)
    if isinstance(rule, Flow) and rule.mints and rule.size and "kernel" in rule.writes:
        writes = {**rule.writes, "vector_u": rule.writes["kernel"]}
        return replace(rule, writes=writes, size=f"layer.config.{rule.size}")
    return Pin(f"SpectralNormalization of {type(layer.layer).__name__} is not followed")


# ---- layers that are opened ----------------------------------------------------------------------


@register(layers.Bidirectional)
def _(layer: Any) -> Rule:
    ways = (layer.forward_layer, layer.backward_layer)
    cells = [each for each in ways if isinstance(each, (layers.SimpleRNN, layers.GRU, layers.LSTM))]
    if len(cells) < 2:
        return Open()
    # Keras takes the output of both ways to be of one width.
    one, other = ((each.cell.recurrent_kernel, 0) for each in cells)
    return Open(ties=((one, other),))


@register(layers.GroupQueryAttention)
def _(layer: Any) -> Rule:
    return Open(ties=(((layer._key_dense.kernel, 2), (layer._value_dense.kernel, 2)),))
