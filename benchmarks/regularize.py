"""Penalties that drive units to zero, and fine-tuning with and without a teacher, side by side.

A small residual network is trained on rendered shapes in noise, which the script makes. Each
penalty starts from the same trained network, on the same rows and for the same epochs; so do the
fine-tunings of one and the same pruned network, for each seed. Prints two tables:

    python benchmarks/regularize.py
    python benchmarks/regularize.py --rows 6000 --epochs 12
"""

import argparse

import keras
import numpy as np
from keras import layers

from secateur.data.read import read
from secateur.evaluation.evaluate import evaluate
from secateur.graph.trace import trace
from secateur.steps.finetune import FineTune
from secateur.steps.prune import Prune
from secateur.steps.regularize import Regularize
from secateur.steps.training import fit

SIZE, NOISE = 12, 1.1
WITHOUT = [
    {"penalty": "group_lasso", "strength": 3e-3},
    {"penalty": "group_lasso", "strength": 3e-2},
    {"penalty": "slimming", "strength": 3e-2},
    {"penalty": "l1", "strength": 3e-2},
    {"penalty": "elastic_net", "strength": 3e-2},
    {"penalty": "l2", "strength": 3e-2},
]
WITH = ["group_lasso", "slimming", "greg", "l1", "elastic_net", "l2"]
TEACHING = {
    "labels alone": {},
    "logits, temperature 4": {"distill": True},
    "logits, 0.9 of the loss": {"distill": True, "alpha": 0.9},
    "logits and features": {"distill": True, "features": ("join1", "join2")},
}


def shapes(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of one of six shapes at any place, in noise, and which shape it is."""
    rng = np.random.default_rng(seed)
    stamps = np.zeros((6, 5, 5), "float32")
    stamps[0, 2, :] = stamps[1, :, 2] = 1
    stamps[2] = np.eye(5)
    stamps[3] = np.eye(5)[::-1]
    stamps[4] = np.maximum(stamps[0], stamps[1])
    stamps[5] = np.maximum(stamps[2], stamps[3])
    y = rng.integers(0, 6, rows).astype("int32")
    x = rng.normal(0, NOISE, (rows, SIZE, SIZE, 1))
    for image, kind, (top, left) in zip(x, y, rng.integers(0, SIZE - 4, (rows, 2)), strict=True):
        image[top : top + 5, left : left + 5, 0] += 2 * stamps[kind]
    return x.astype("float32"), y


def network() -> keras.Model:
    """Return a stream of 32 channels with two blocks of 48."""

    def convolution(x, filters):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.ReLU()(convolution(inputs, 32))
    for number in (1, 2):
        inner = convolution(layers.ReLU()(convolution(x, 48)), 32)
        x = layers.ReLU(name=f"join{number}")(layers.Add()([x, inner]))
        x = layers.MaxPooling2D()(x) if number == 1 else layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(6, activation="softmax")(x))


def accuracy(model: keras.Model, data) -> str:
    return f"{100 * evaluate(model, data.test).accuracy:.1f}"


def units(model: keras.Model) -> int:
    return sum(len(group) for group in trace(model).groups if group.kind != "block")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("penalties", "teaching", "both"), default="both")
    options = parser.parse_args()
    data = read(shapes(options.rows, 0))
    trained, _ = fit(network(), data, epochs=options.epochs, learning_rate=3e-3)
    print(f"\nAs trained: accuracy {accuracy(trained, data)} %, {units(trained)} units.\n")
    if options.part != "teaching":
        penalties(trained, data, options.epochs)
    if options.part != "penalties":
        teaching(trained, data, options.epochs // 2, options.seeds)


def penalties(trained: keras.Model, data, epochs: int) -> None:
    print("| penalty | proximal | strength | budget | units left | MACs left | accuracy, % |")
    print("|---|---|---|---|---|---|---|")
    asked = [each | {"proximal": proximal} for each in WITHOUT for proximal in (True, False)]
    asked += [
        {"penalty": each, "proximal": proximal, "macs": 0.4}
        for each in WITH
        for proximal in (True, False)
    ]
    for each in asked:
        result = Regularize(epochs=epochs, round_to=4, **each)(trained, data)
        cells = [
            each["penalty"],
            "yes" if each["proximal"] else "no",
            f"{each.get('strength', 'default')}",
            f"{each.get('macs', 'none')}",
            f"{units(result.model)}",
            f"{result.after.macs / result.before.macs:.2f}",
            accuracy(result.model, data),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def teaching(trained: keras.Model, data, epochs: int, seeds: int) -> None:
    smaller = Prune(macs=0.15, round_to=4)(trained, data).model
    print(f"\nPruned to 0.15 of the MACs and healed: accuracy {accuracy(smaller, data)} %.\n")
    print("| fine-tuning | accuracy by seed, % | mean |")
    print("|---|---|---|")
    for name, settings in TEACHING.items():
        found = []
        for seed in range(seeds):
            step = FineTune(epochs=epochs, learning_rate=1e-3, seed=seed, **settings)
            taught = step(smaller, data, teacher=trained if settings else None)
            found.append(accuracy(taught.model, data))
        mean = np.mean([float(each) for each in found])
        print(f"| {name} | {', '.join(found)} | {mean:.1f} |", flush=True)


if __name__ == "__main__":
    main()
