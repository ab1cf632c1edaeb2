"""int8 against float32: model kinds x runtimes x modes, timed in turn in one run.

    python benchmarks/int8.py            # all of it, some minutes
    python benchmarks/int8.py --quick    # small models, short timings

For each row: the size and the time of the int8 file as shares of the float32 file's (its batch
normalizations folded, as in the int8 file), how often its answer is that of the fake-quantized
model, and accuracy before and after on the test rows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from secateur import read
from secateur.cost.runtimes import TITLE, open_runner
from secateur.cost.worth import worth
from secateur.errors import SecateurError
from secateur.formats.fake import fake_quantized
from secateur.formats.int8 import to_onnx_int8
from secateur.formats.litert_int8 import to_litert_int8
from secateur.formats.parity import agreement
from secateur.steps.quantize import Quantize
from secateur.steps.training import fit

CLASSES = 6


def images(rows):
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    # Stripes of a direction and a width a class, wherever they begin.
    turn, pace = np.pi * y / CLASSES, 0.7 + 0.2 * y
    down, right = np.mgrid[:24, :24]
    along = np.multiply.outer(np.sin(turn), down) + np.multiply.outer(np.cos(turn), right)
    starts = rng.uniform(0, 2 * np.pi, rows)
    stripes = np.sin(pace[:, None, None] * along + starts[:, None, None])
    noise = rng.normal(size=(rows, 24, 24, 3))
    return (0.6 * stripes[..., None] + noise).astype("float32"), y


def sequences(rows):
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    waves = np.sin(np.arange(32)[None, :, None] * (0.2 + 0.15 * y[:, None, None]))
    return (waves + rng.normal(size=(rows, 32, 8))).astype("float32"), y


def table(rows):
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    means = rng.normal(size=(CLASSES, 64))
    return (0.6 * means[y] + rng.normal(size=(rows, 64))).astype("float32"), y


def normed(x, filters, size=3, strides=1):
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def residual(width):
    x = inputs = keras.Input((24, 24, 3), name="image")
    x = layers.ReLU()(normed(x, width))
    for filters, strides in ((width, 1), (2 * width, 2)):
        y = normed(layers.ReLU()(normed(x, filters, strides=strides)), filters)
        if strides > 1:
            x = normed(x, filters, 1, strides)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def depthwise(width):
    x = inputs = keras.Input((24, 24, 3), name="image")
    x = layers.ReLU(6)(normed(x, width, strides=2))
    for _ in range(3):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU(6)(layers.BatchNormalization()(x))
        x = layers.ReLU(6)(normed(x, 2 * width, 1))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def dense(width):
    x = inputs = keras.Input((64,), name="row")
    for _ in range(3):
        x = layers.Dense(8 * width, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def lstm(width):
    x = inputs = keras.Input((32, 8), name="steps")
    x = layers.LSTM(4 * width)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def attention(width):
    inputs = keras.Input((32, 8), name="steps")
    x = layers.Dense(2 * width)(layers.Reshape((8, 32))(inputs))
    normalised = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, width // 2)(normalised, normalised)])
    hidden = layers.Dense(8 * width, activation="relu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(2 * width)(hidden)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


KINDS = {
    "residual": (residual, images, ("static", "trained", "weights")),
    "depthwise": (depthwise, images, ("static", "weights")),
    "dense": (dense, table, ("static", "dynamic", "weights", "weights, 4 bits")),
    "lstm": (lstm, sequences, ("dynamic", "weights")),
    "attention": (attention, sequences, ("static", "dynamic", "weights")),
}
MODES = {
    "static": Quantize(calibration="mse"),
    "trained": Quantize(calibration="mse", epochs=2),
    "dynamic": Quantize(mode="dynamic"),
    "weights": Quantize(mode="weights"),
    "weights, 4 bits": Quantize(mode="weights", bits=4),
}


def rows_of(kind, mode, model, data, seconds, folder):
    """Yield a row of the table for each runtime."""
    result = MODES[mode](model, data)
    x, y = data.test.sample(2000)
    fake = np.asarray(fake_quantized(result.model, result.quantization)(x, training=False))
    before = np.asarray(model(x, training=False)).argmax(1)
    for runtime in ("onnxruntime", "openvino", "litert"):
        where = [kind, mode, TITLE[runtime]]
        try:
            path = folder / ("int8.tflite" if runtime == "litert" else "int8.onnx")
            write = to_litert_int8 if runtime == "litert" else to_onnx_int8
            write(result.model, result.quantization, path)
            runner = open_runner(path, runtime)
            found = runner.run({runner.inputs[0].name: x})[0]
            if not np.isfinite(found).all():
                raise SecateurError("its outputs are not finite")
            cost = worth(result.model, result.quantization, runtime=runtime, seconds=seconds)
        except SecateurError as error:
            yield [*where, "-", "-", "-", "-", error.what[:60]]
            continue
        yield [
            *where,
            f"{cost.size:.3f}",
            f"{cost.time:.2f}",
            f"{agreement(fake, found):.1%}",
            f"{(before == y).mean():.1%}",
            f"{(found.argmax(1) == y).mean():.1%}",
        ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small models, short timings")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    width, rows, seconds, epochs = (32, 1500, 1.0, 2) if given.quick else (64, 6000, 4.0, 6)
    print("| model | mode | runtime | size | time | agreement | before | after |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds:
            build, draw, modes = KINDS[kind]
            keras.utils.set_random_seed(0)
            data = read(draw(rows))
            # Kernels of nine numbers a channel take longer to learn.
            model, _ = fit(build(width), data, epochs=epochs * (3 if kind == "depthwise" else 1))
            for mode in modes:
                for row in rows_of(kind, mode, model, data, seconds, Path(folder)):
                    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
