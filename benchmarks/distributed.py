"""One worker beside two: how far their weights are apart, and what it costs that a worker dies.

Trains a small convolutional net on images that it draws, three times: alone, with two workers under
Ray Train, and with two of which one is killed in the middle of the second epoch. It takes the extra
`distributed` and the JAX or the PyTorch backend:

    KERAS_BACKEND=jax python benchmarks/distributed.py
    KERAS_BACKEND=torch python benchmarks/distributed.py --normalised --epochs 6
"""

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

from secateur.data.dataset import Dataset
from secateur.data.read import read
from secateur.steps.finetune import FineTune

SHAPE = (12, 12, 3)


class Mortal:
    """A store whose reader is killed once, in a certain reading of training rows."""

    def __init__(self, store, lethal: Path, reads: int):
        self.store, self.lethal, self.reads, self.read = store, str(lethal), reads, 0

    def __getattr__(self, name):
        if name.startswith("__") or name == "store":
            raise AttributeError(name)
        return getattr(self.store, name)

    def take(self, split, rows):
        """Return some rows, or die."""
        if split == 0:
            self.read += 1
            if self.read == self.reads and os.path.exists(self.lethal):
                os.unlink(self.lethal)
                os.kill(os.getpid(), signal.SIGKILL)
        return self.store.take(split, rows)


def images(rows: int) -> Dataset:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, *SHAPE)).astype("float32")
    return read((x, (x.mean((1, 2)) @ [1.0, -1.0, 0.5] > 0).astype("int32")))


def net(normalised: bool) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(SHAPE)
    for width in (8, 16):
        x = layers.Conv2D(width, 3, strides=2, use_bias=not normalised)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x) if normalised else x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, "softmax")(x))


def apart(one: keras.Model, other: keras.Model) -> float:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--normalised", action="store_true", help="with batch normalisation")
    asked = parser.parse_args()
    data, start = images(asked.rows), net(asked.normalised)
    settings = {"epochs": asked.epochs, "batch_size": asked.batch, "learning_rate": 1e-2}
    steps = len(data.train.batches(asked.batch))
    with tempfile.TemporaryDirectory() as folder:
        lethal = Path(folder) / "lethal"
        lethal.touch()
        store = Mortal(data.train._store, lethal, steps + steps // 2)
        facts = {"notes": (), "source": data.source, "splitting": data.splitting}
        dying = Dataset.of(store, data.contract, digest=data.digest, **facts)
        rows = []
        for name, workers, source in (
            ("one worker", 1, data),
            ("two workers", 2, data),
            ("two, one killed in epoch 2", 2, dying),
        ):
            begun = time.perf_counter()
            result = FineTune(**settings, workers=workers)(start, source)
            rows.append((name, result, time.perf_counter() - begun))
    first, whole = rows[0][1], rows[1][1]
    steps_told = f"{asked.epochs} epochs of {steps} steps"
    print(f"{keras.backend.backend()} backend, {data.train.rows} rows, {steps_told}\n")
    print("| trained by | seconds | largest difference to one worker | to two | what was done |")
    print("|---|---:|---:|---:|---|")
    for name, result, seconds in rows:
        differences = [f"{apart(each.model, result.model):.1e}" for each in (first, whole)]
        print(f"| {name} | {seconds:.0f} | {' | '.join(differences)} | {result.notes[0].what} |")


if __name__ == "__main__":
    main()
