"""The pruning network against magnitude pruning, at the same number of training steps.

Three kinds of models are trained on a task made of noisy sequences, eight classes of two patterns
each, and brought to shares of their multiply-adds. Both ways train for `--epochs` epochs in all.
Accuracy is that on 8,400 test rows, the mean over the seeds; beside it what each seed lies above or
below magnitude pruning:

    python benchmarks/selection.py
    python benchmarks/selection.py --models LSTM --before 24 --gates hard_concrete
"""

import argparse

import keras
import numpy as np
from keras import layers

from secateur.data.read import read
from secateur.evaluation.evaluate import evaluate
from secateur.job.memory import keep_memory
from secateur.steps.chain import chain
from secateur.steps.finetune import FineTune
from secateur.steps.gates import GATES
from secateur.steps.prune import Prune
from secateur.steps.select import Select
from secateur.steps.training import fit


def task(seed: int, rows: int = 12_000):
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(16, 6, 32))
    y = rng.integers(0, 8, rows)
    x = patterns[y * 2 + rng.integers(0, 2, rows)] + rng.normal(size=(rows, 6, 32)) * 2.6
    return read((x.astype("float32").reshape(rows, 192), y), split=(0.2, 0.1, 0.7))


def residual(x):
    x = layers.Conv1D(48, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    inner = layers.Conv1D(64, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, layers.Conv1D(48, 3, padding="same")(inner)])
    return layers.Dense(64, activation="relu")(layers.GlobalAveragePooling1D()(x))


def transformer(x):
    x = layers.Dense(48)(x)
    normed = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 16)(normed, normed)])
    hidden = layers.Dense(128, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(48)(hidden)])
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


def lstm(x):
    return layers.Dense(48, activation="relu")(layers.LSTM(64)(x))


def model_of(body, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((192,))
    return keras.Model(inputs, layers.Dense(8)(body(layers.Reshape((6, 32))(inputs))))


MODELS = {"residual": residual, "transformer": transformer, "LSTM": lstm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--before", type=int, default=6, help="epochs of the whole model")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--round-to", type=int, default=1)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.75, 0.5, 0.25])
    parser.add_argument("--gates", nargs="+", choices=sorted(GATES), default=sorted(GATES))
    options = parser.parse_args()
    keep_memory()
    print("| model | budget | way | MACs left | accuracy | against L2, by seed | before |")
    print("|---|---|---|---|---|---|---|")
    for name in options.models:
        for budget in options.budgets:
            both = {"macs": budget, "round_to": options.round_to}
            found: dict[str, list[tuple[float, float, float]]] = {}
            for seed in range(options.seeds):
                data = task(seed)
                model = model_of(MODELS[name], seed)
                model, _ = fit(model, data, epochs=options.before, learning_rate=2e-3, seed=seed)
                whole = evaluate(model, data.test).accuracy
                ways = {
                    "L2": chain(Prune(by="l2", **both), FineTune(epochs=options.epochs, seed=seed)),
                    **{
                        gates: Select(gates=gates, epochs=options.epochs, seed=seed, **both)
                        for gates in options.gates
                    },
                }
                for way, step in ways.items():
                    result = step(model, data)
                    left = result.after.macs / result.before.macs
                    accuracy = evaluate(result.model, data.test).accuracy
                    found.setdefault(way, []).append((left, accuracy, whole))
            for way, rows in found.items():
                left, accuracy, whole = np.mean(rows, axis=0)
                pairs = zip(rows, found["L2"], strict=True)
                gains = [f"{100 * (ours[1] - theirs[1]):+.1f}" for ours, theirs in pairs]
                line = f"{left:.1%} | {accuracy:.1%} | {', '.join(gains)} | {whole:.1%}"
                print(f"| {name} | {budget:.0%} | {way} | {line} |", flush=True)


if __name__ == "__main__":
    main()
