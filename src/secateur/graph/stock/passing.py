"""Layers that pass units on: normalisations, activations, merges, pools and reshapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers
from keras.src.applications.convnext import LayerScale, StochasticDepth

from secateur.graph.rule import Elementwise, Flow, Move, Pin, Pool, Rule, Where, register
from secateur.graph.stock.common import across, channels, mixing


@register(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def _(layer: Any) -> Rule:
    return Flow(
        reads={"kernel": -2},
        writes={"bias": 0},
        mints=False,
        axis=channels(layer),
        repeat=layer.depth_multiplier,
        macs={"kernel": "output"},
        keeps=mixing(layer),
    )


@register(layers.BatchNormalization)
def _(layer: Any) -> Rule:
    weights = ("gamma", "beta", "moving_mean", "moving_variance")
    if getattr(layer, "renorm", False):
        weights += ("moving_stddev", "renorm_mean", "renorm_stddev")
    return Flow(writes=dict.fromkeys(weights, 0), mints=False, axis=layer.axis, pointwise=True)


@register(layers.LayerNormalization)
def _(layer: Any) -> Rule:
    axis, *more = np.atleast_1d(layer.axis).tolist()
    if more:
        return Pin("LayerNormalization over several axes")
    return Flow(writes={"gamma": 0, "beta": 0}, mints=False, axis=axis, mixes=True, pointwise=True)


@register(layers.RMSNormalization)
def _(layer: Any) -> Rule:
    axis, *more = np.atleast_1d(layer.axis).tolist()
    if more:
        return Pin("RMSNormalization over several axes")
    return Flow(writes={"scale": 0}, mints=False, axis=axis, mixes=True, pointwise=True)


@register(layers.GroupNormalization)
def _(layer: Any) -> Rule:
    weights: dict[str, Where] = {"gamma": 0, "beta": 0}
    if layer.gamma is not None and layer.groups == layer.gamma.shape[0]:
        # One group a channel: nothing is mixed, and the number of groups follows the channels.
        return Flow(writes=weights, size="groups", mints=False, axis=layer.axis)
    return Flow(writes=weights, mints=False, axis=layer.axis, groups=layer.groups, mixes=True)


@register(layers.Normalization)
def _(layer: Any) -> Rule:
    return Pin("it is normalised by figures of the data")


@register(
    layers.CategoryEncoding,
    layers.Discretization,
    layers.HashedCrossing,
    layers.Hashing,
    layers.IntegerLookup,
    layers.StringLookup,
    layers.TextVectorization,
)
def _(layer: Any) -> Rule:
    return Pin("it encodes data")


@register(LayerScale)
def _(layer: Any) -> Rule:
    # Keras gives its weight no name, so it is numbered.
    name = layer.gamma.name
    return Flow(writes={name: 0}, size="projection_dim", mints=False, pointwise=True)


@register(layers.UnitNormalization)
def _(layer: Any) -> Rule:
    return (
        Pin("UnitNormalization over several axes")
        if np.ndim(layer.axis) and len(layer.axis) > 1
        else Flow(mints=False, mixes=True)
    )


@register(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    StochasticDepth,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
)
def _(layer: Any) -> Rule:
    return Elementwise()


@register(
    layers.AugMix,
    layers.CutMix,
    layers.MixUp,
    layers.RandAugment,
    layers.RandomBrightness,
    layers.RandomColorDegeneration,
    layers.RandomColorJitter,
    layers.RandomContrast,
    layers.RandomElasticTransform,
    layers.RandomErasing,
    layers.RandomGaussianBlur,
    layers.RandomGrayscale,
    layers.RandomHue,
    layers.RandomInvert,
    layers.RandomPerspective,
    layers.RandomPosterization,
    layers.RandomSaturation,
    layers.RandomSharpness,
    layers.RandomShear,
)
def _(layer: Any) -> Rule:
    # In training they work across the channels of an image.
    return Elementwise(fixed=(channels(layer),), reason="images are altered at random")


@register(layers.PReLU)
def _(layer: Any) -> Rule:
    return Elementwise(weights=("alpha",))


@register(layers.Softmax)
def _(layer: Any) -> Rule:
    return across(layer.axis, "softmax")


@register(layers.Activation)
def _(layer: Any) -> Rule:
    mixes = mixing(layer)
    return Pin(mixes) if mixes else Elementwise()


@register(layers.Rescaling)
def _(layer: Any) -> Rule:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return Pin("Rescaling with one factor a position")
    return Elementwise()


@register(
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.AdaptiveAveragePooling1D,
    layers.AdaptiveAveragePooling2D,
    layers.AdaptiveAveragePooling3D,
    layers.AdaptiveMaxPooling1D,
    layers.AdaptiveMaxPooling2D,
    layers.AdaptiveMaxPooling3D,
    layers.CenterCrop,
    layers.RandomCrop,
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomTranslation,
    layers.RandomZoom,
    layers.Resizing,
)
def _(layer: Any) -> Rule:
    return Pool(axis=channels(layer))


@register(layers.Concatenate, layers.Flatten, layers.Permute, layers.RepeatVector)
def _(layer: Any) -> Rule:
    return Move()


@register(layers.Reshape)
def _(layer: Any) -> Rule:
    return Move(shape="target_shape")
