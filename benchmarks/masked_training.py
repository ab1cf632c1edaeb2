"""What masks cost in training: epochs with masks and plain ones of the same model, in turn.

Both train on the same batches, without XLA. Prints the median over the pairs of epochs, and the
middle half of them, of the time that passes and of the time that the processors work. The latter is
what counts on a machine that does other things as well:

    python benchmarks/masked_training.py
    python benchmarks/masked_training.py --pairs 40 --rows 4096
"""

import argparse
import time

import keras
import numpy as np
from keras import layers

from secateur.graph.trace import trace
from secateur.planning.patterns import NofM, Unstructured
from secateur.steps.masking import Masking
from secateur.steps.sparsify import Sparsify, kernels_of

VARIANTS = {
    "plain, against itself": None,
    "constant, 80 %": Sparsify(0.8, schedule="one_shot"),
    "cubic to 80 %, every 10 steps": Sparsify(0.8, schedule="cubic", every=10, end=1.0),
    "cubic to 80 %, ranked globally, every 10 steps": Sparsify(
        0.8, pattern=Unstructured("global"), every=10, end=1.0
    ),
    "2:4, every 10 steps": Sparsify(pattern=NofM(2, 4), every=10, end=1.0),
    "RigL, 80 %, every 10 steps": Sparsify(0.8, method="rigl", every=10, end=1.0),
}


def network() -> keras.Model:
    x = inputs = keras.Input((32, 32, 3))
    for width in (16, 32, 64):
        for strides in (1, 2):
            x = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(128, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
    return model


def ratios(step: Sparsify | None, x, y, batch: int, pairs: int) -> np.ndarray:
    keras.utils.set_random_seed(0)
    start = network()
    plain = compiled(keras.models.clone_model(start), keras.optimizers.Adam(1e-3))
    callbacks: dict[str, list] = {"plain": [], "masked": []}
    if step is None:
        masked = compiled(keras.models.clone_model(start), keras.optimizers.Adam(1e-3))
    else:
        graph = trace(start)
        masking = Masking(graph, kernels_of(graph), step.settings())
        masked = compiled(keras.models.clone_model(start), masking.optimizer(1e-3))
        masking.prepare(masked, -(-len(x) // batch), pairs + 1)
        callbacks["masked"] = [masking]
    found = []
    for epoch in range(pairs + 1):
        seconds = {}
        turn = {"plain": plain, "masked": masked}
        for name in turn if epoch % 2 else reversed(turn):
            begun = np.array([time.perf_counter(), time.process_time()])
            turn[name].fit(
                x,
                y,
                batch_size=batch,
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                verbose=0,
                callbacks=callbacks[name],
            )
            ended = np.array([time.perf_counter(), time.process_time()])
            seconds[name] = ended - begun
        # The first epoch of each compiles its step.
        if epoch:
            found.append(seconds["masked"] / seconds["plain"])
    return np.array(found).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=20, help="pairs of epochs a row of the table")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.rows, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, options.rows).astype("int32")
    print("| masks | time against plain | middle half | processor time | middle half |")
    print("|---|---|---|---|---|")
    for name, step in VARIANTS.items():
        found = ratios(step, x, y, options.batch, options.pairs)
        cells = []
        for low, middle, high in np.percentile(found, [25, 50, 75], axis=1).T:
            cells += [f"{middle:.3f}x", f"{low:.3f}-{high:.3f}x"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
