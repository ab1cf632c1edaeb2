"""A search small enough to be done often; run as a program, it is killed in its third trial."""

import os
import signal
import sys

import keras
import numpy as np
from keras import layers

from secateur.data.read import read
from secateur.steps.explore import explore
from secateur.steps.prune import Prune


def made_data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 8)).astype("float32")
    return read((x, (x[:, 0] + x[:, 1] > 0).astype("int32")))


def made_model(seed=0):
    keras.utils.set_random_seed(seed)
    x = i = keras.Input((8,), name="array")
    x = layers.Dense(16, "relu", name="first")(x)
    x = layers.Dense(16, "relu", name="second")(x)
    return keras.Model(i, layers.Dense(2, "softmax", name="last")(x), name="small")


def build(trial):
    return Prune(
        macs=trial.suggest_float("macs", 0.2, 0.8),
        by=trial.suggest_categorical("by", ["l2", "l1"]),
        round_to=1,
        heal=False,
    )


class Killed:
    """A step that does not come back."""

    def __call__(self, model, data=None):
        os.kill(os.getpid(), signal.SIGKILL)


def killing(trial):
    step = build(trial)
    return Killed() if trial.number == 2 else step


if __name__ == "__main__":
    explore(made_model(), made_data(), killing, trials=5, study=sys.argv[1], seed=3)
