"""Build a sensible default model for a contract: ordinary Keras layers, nothing else.

Every function here takes the contract and gives an uncompiled functional model whose inputs are
the contract's and whose output is softmax probabilities, one value for regression. All
randomness comes from `seed`: each layer gets its own, so Keras' global seed is never touched.

Widths are multiples of 8, because runtimes compute channels in blocks, and hidden channels carry
most of the multiply-accumulates: they are what a later cut can take away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import keras
from keras import initializers, layers

from secateur.errors import ModelError

if TYPE_CHECKING:
    from secateur.data.contract import Contract

# Keras annotates what its layers take and give too narrowly for a type checker.
Tensor = Any

_WIDTHS = {"image": 32, "table": 128, "sequence": 64}


def build(
    contract: Contract,
    *,
    width: int | None = None,
    seed: int = 0,
    target: tuple[float, float] | None = None,
) -> keras.Model:
    """Build the default model for what a contract describes.

    An image gets a small residual network, a table embeddings and a perceptron, a sequence
    convolutions and a GRU; plain arrays get the one that suits their rank.

    Args:
        contract: what one sample looks like and what is to be predicted.
        width: channels of the first hidden layer; the others follow from it.
        seed: gives the initial weights; the same seed gives the same model.
        target: mean and standard deviation of a regression target, so that the network itself
            works on numbers near one. The model still predicts in the target's own unit.

    Returns:
        An uncompiled functional model.

    Raises:
        ModelError: no default model is known for the shape.
    """
    kind = _kind(contract)
    width = _WIDTHS[kind] if width is None else width
    if width < 8:
        raise ModelError(
            f"a default model needs a width of at least 8, got {width}.", where="width"
        )
    seeds = count(seed * 1000)
    make = {"image": _image, "table": _table, "sequence": _sequence}[kind]
    inputs, features = make(contract, width, seeds)
    outputs = _head(features, contract, seeds, target)
    return keras.Model(inputs, outputs, name=f"{kind}_model")


def _kind(contract: Contract) -> str:
    if contract.kind != "array":
        return contract.kind
    shape = contract.inputs()["array"][0]
    kinds = {1: "table", 2: "sequence", 3: "image"}
    if len(shape) not in kinds:
        raise ModelError(
            f"no default model is known for samples of shape {shape}.",
            where="model",
            mend="Give a function of your own: `build: package.module:function`.",
        )
    return kinds[len(shape)]


def _image(contract: Contract, width: int, seeds: Iterator[int]) -> tuple[Tensor, Tensor]:
    name, (shape, dtype) = next(iter(contract.inputs().items()))
    inputs = keras.Input(shape, dtype=dtype, name=name)
    if dtype == "uint8":
        x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    else:
        x = _normalized(contract, inputs)
    halvings = _halvings(max(shape[:2]))
    x = _conv(x, width, 3, 2 if halvings > 0 else 1, "stem", seeds)
    x = layers.ReLU(name="stem_relu")(x)
    for stage in range(3):
        stride = 2 if stage > 0 or halvings > 1 else 1
        x = _residual(x, width * 2**stage, stride, f"stage{stage + 1}", seeds)
    for extra in range(halvings - 2):
        x = _residual(x, width * 4, 2, f"stage{extra + 4}", seeds)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return inputs, layers.Dropout(0.2, seed=next(seeds), name="dropout")(x)


def _halvings(side: int) -> int:
    """Return how often a map is halved ahead of the usual two, to end at about 8 x 8."""
    return max(0, round(math.log2(side / 32)))


def _conv(x: Tensor, width: int, size: int, stride: int, name: str, seeds: Iterator[int]) -> Tensor:
    x = layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=_start("HeNormal", seeds),
        name=name,
    )(x)
    return layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)


def _residual(x: Tensor, width: int, stride: int, name: str, seeds: Iterator[int]) -> Tensor:
    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _conv(x, width, 1, stride, f"{name}_shortcut", seeds)
    y = _conv(x, width, 3, stride, f"{name}_conv1", seeds)
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _conv(y, width, 3, 1, f"{name}_conv2", seeds)
    y = layers.Add(name=f"{name}_add")([y, shortcut])
    return layers.ReLU(name=f"{name}_relu2")(y)


def _table(contract: Contract, width: int, seeds: Iterator[int]) -> tuple[Any, Tensor]:
    inputs: list[Tensor] = []
    parts: list[Tensor] = []
    for name, (shape, dtype) in contract.inputs().items():
        tensor = keras.Input(shape, dtype=dtype, name=name)
        inputs.append(tensor)
        if name == "categorical":
            parts.extend(_embeddings(contract, tensor, seeds))
        else:
            parts.append(_normalized(contract, tensor))
    x = parts[0] if len(parts) == 1 else layers.Concatenate(name="features")(parts)
    for index, units in enumerate((width, width, max(8, width // 16 * 8)), 1):
        x = _dense(x, units, f"hidden{index}", seeds)
        x = layers.BatchNormalization(name=f"hidden{index}_bn")(x)
        x = layers.ReLU(name=f"hidden{index}_relu")(x)
        if index < 3:
            x = layers.Dropout(0.1, seed=next(seeds), name=f"hidden{index}_dropout")(x)
    return inputs[0] if len(inputs) == 1 else {each.name: each for each in inputs}, x


def _embeddings(contract: Contract, codes: Tensor, seeds: Iterator[int]) -> Iterator[Tensor]:
    """Give one flat embedding for each categorical column; code 0 is "unknown or missing"."""
    columns = contract.categorical()
    split: Any = keras.ops.split(codes, len(columns), axis=1) if len(columns) > 1 else [codes]
    for index, (column, code) in enumerate(zip(columns, split, strict=True), 1):
        size = len(column.vocabulary) + 1
        embedded = layers.Embedding(
            size,
            _embedding_width(size),
            embeddings_initializer=_start("RandomUniform", seeds),
            name=f"embedding{index}",
        )(code)
        yield layers.Flatten(name=f"embedding{index}_flat")(embedded)


def _embedding_width(size: int) -> int:
    """Return a multiple of 8 that grows slowly with the size of the vocabulary."""
    return 8 * max(1, min(4, round(size**0.5 / 8)))


def _normalized(contract: Contract, tensor: Tensor) -> Tensor:
    """Bring each feature to mean 0 and variance 1 as the training split has them."""
    mean, variance = contract.moments()
    if mean.size != tensor.shape[-1]:
        return layers.BatchNormalization(scale=False, name="normalize")(tensor)
    return layers.Normalization(axis=-1, mean=mean, variance=variance, name="normalize")(tensor)


def _dense(x: Tensor, units: int, name: str, seeds: Iterator[int]) -> Tensor:
    start = _start("HeNormal", seeds)
    return layers.Dense(units, use_bias=False, kernel_initializer=start, name=name)(x)


def _sequence(contract: Contract, width: int, seeds: Iterator[int]) -> tuple[Tensor, Tensor]:
    name, (shape, dtype) = next(iter(contract.inputs().items()))
    inputs = keras.Input(shape, dtype=dtype, name=name)
    x = _normalized(contract, inputs)
    steps = shape[0]
    for index, (channels, size) in enumerate(((width, 5), (width, 3), (2 * width, 3)), 1):
        stride = 2 if index > 1 and steps >= 16 else 1
        steps = -(-steps // stride)
        x = layers.Conv1D(
            channels,
            size,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=_start("HeNormal", seeds),
            name=f"conv{index}",
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"conv{index}_bn")(x)
        x = layers.ReLU(name=f"conv{index}_relu")(x)
    x = layers.GRU(
        width,
        kernel_initializer=_start("GlorotUniform", seeds),
        recurrent_initializer=_start("Orthogonal", seeds),
        seed=next(seeds),
        name="gru",
    )(x)
    return inputs, layers.Dropout(0.2, seed=next(seeds), name="dropout")(x)


def _head(
    x: Tensor,
    contract: Contract,
    seeds: Iterator[int],
    target: tuple[float, float] | None,
) -> Tensor:
    start = _start("GlorotUniform", seeds)
    if contract.task == "classification":
        classes = len(contract.classes)
        return layers.Dense(
            classes, activation="softmax", kernel_initializer=start, name="probabilities"
        )(x)
    if target is None:
        return layers.Dense(1, kernel_initializer=start, name="value")(x)
    mean, deviation = target
    x = layers.Dense(1, kernel_initializer=start, name="standard_value")(x)
    return layers.Rescaling(deviation or 1.0, mean, name="value")(x)


def _start(name: str, seeds: Iterator[int]) -> Any:
    """Return an initializer of Keras, with a seed of its own."""
    return getattr(initializers, name)(seed=next(seeds))
