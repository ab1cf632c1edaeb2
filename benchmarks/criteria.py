"""Every criterion, at once and in rounds: accuracy as cut, healed, and after fine-tuning.

    python benchmarks/criteria.py --work runs/criteria                       # the residual net
    python benchmarks/criteria.py --work runs/criteria --model cifar_cnn.keras
    python benchmarks/criteria.py --work runs/criteria --table --plot criteria.png

Prunes a net that was trained on CIFAR-10 to 75, 50 and 25 % of its multiply-adds by each criterion:
the residual net of `torch_trained.py`, or a model file that takes images of 32 x 32 x 3 with values
from 0 to 255. Criteria, healing and fine-tuning see the same few training images, so an epoch is
one pass over `--rows` of them; accuracy is that on `--judged` test images. In rounds, an epoch lies
between a cut and the next. What is done lies in the folder, so a run that was broken off goes on.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cifar import batches, cifar10
from secateur.data.read import read
from secateur.graph.weights import copied
from secateur.job.memory import keep_memory
from secateur.planning.criteria import CRITERIA
from secateur.steps.prune import Prune
from torch_trained import answers, whole

SHARES = (0.75, 0.5, 0.25)
ROUNDS = 3
EPOCHS = 5
BATCH = 64
RATE = 1e-3
STAGES = ("cut", "healed", "1 epoch", "5 epochs")


@dataclass(frozen=True)
class Way:
    """One way to prune: all but the share that is left."""

    by: str
    scope: str
    rounds: int

    @property
    def name(self) -> str:
        """Return the way in words."""
        when = "at once" if self.rounds == 1 else f"in {self.rounds} rounds"
        return f"{when}, {self.scope}"


def ways(scopes: list[str]) -> Iterator[Way]:
    for by in CRITERIA:
        for scope in scopes:
            yield Way(by, scope, 1)
        yield Way(by, scopes[0], ROUNDS)


class Judge(keras.callbacks.Callback):
    """Notes the accuracy after chosen epochs, counted from 1."""

    def __init__(self, data: dict, epochs: set[int]):
        super().__init__()
        self.data, self.epochs, self.found = data, epochs, {}

    def on_epoch_end(self, epoch, logs=None):
        """Judge the model, if it is time."""
        if epoch + 1 in self.epochs:
            self.found[epoch + 1] = accuracy(self.model, self.data)


def accuracy(model: keras.Model, data: dict) -> float:
    return 100 * float((answers(model, data["x_test"]).argmax(1) == data["y_test"]).mean())


def tuned(model: keras.Model, data: dict, seed: int) -> dict[str, float]:
    """Return the accuracy of a copy after the first and after the last epoch of fine-tuning."""
    twin, judge = copied(model), Judge(data, {1, EPOCHS})
    steps = len(data["x_train"]) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    twin.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    given = batches(data["x_train"], data["y_train"], size=BATCH, steps=EPOCHS * steps, seed=seed)
    twin.fit(given, steps_per_epoch=steps, epochs=EPOCHS, verbose=0, callbacks=[judge])
    return {"1 epoch": judge.found[1], f"{EPOCHS} epochs": judge.found[EPOCHS]}


def pruned(options, model: keras.Model, way: Way, share: float, data: dict, dataset) -> dict:
    result = Prune(
        macs=share,
        by=way.by,
        scope=way.scope,
        rounds=way.rounds,
        epochs=1 if way.rounds > 1 else 0,
        samples=options.samples,
        seed=options.seed,
    )(model, dataset)
    # The last round that cut anything: rounding may have met the budget before the last one.
    stages = {stage.name.partition(" ")[0]: stage.model for stage in result.stages}
    found = {"macs": result.after.macs / result.before.macs}
    found |= {name: accuracy(stages[name], data) for name in ("cut", "healed")}
    return found | tuned(result.model, data, options.seed)


def measured(options, model: keras.Model, name: str) -> None:
    """Do what the file of results lacks, and add it there."""
    arrays = cifar10(options.data or options.work)
    rng = np.random.default_rng(0)
    data = {}
    for split, count in (("train", options.rows), ("test", options.judged)):
        rows = rng.permutation(len(arrays[f"x_{split}"]))[:count]
        data[f"x_{split}"] = arrays[f"x_{split}"][rows].astype(np.float32)
        data[f"y_{split}"] = arrays[f"y_{split}"][rows]
    dataset = read((data["x_train"], data["y_train"]), split=(0.9, 0.05, 0.05))
    done = {(row["net"], row["by"], row["way"], row["share"]) for row in rows_of(options.work)}
    if (name, "", "whole", 1.0) not in done:
        written(options.work, name, Way("", "", 0), 1.0, {"cut": accuracy(model, data)})
    for share in options.shares:
        for way in ways(options.scopes):
            if (name, way.by, way.name, share) in done:
                continue
            found = pruned(options, model, way, share, data, dataset)
            written(options.work, name, way, share, found)


def written(work: Path, net: str, way: Way, share: float, found: dict) -> None:
    row = {"net": net, "by": way.by, "way": way.name if way.by else "whole", "share": share}
    with (work / "rows.jsonl").open("a") as file:
        print(json.dumps(row | found), file=file, flush=True)


def rows_of(work: Path) -> list[dict]:
    path = work / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(rows: list[dict]) -> Iterator[str]:
    """Give a table for each net: a line a criterion and way, the stages of each share."""
    for net in dict.fromkeys(row["net"] for row in rows):
        mine = [row for row in rows if row["net"] == net]
        (top,) = (row["cut"] for row in mine if not row["by"])
        shares = sorted({row["share"] for row in mine if row["by"]}, reverse=True)
        yield f"\n{net}, {top:.1f} % whole; as cut / healed / 1 epoch / {EPOCHS} epochs\n"
        yield f"| criterion | way | {' | '.join(f'{share:.0%} of the MACs' for share in shares)} |"
        yield f"|---|---|{'---|' * len(shares)}"
        lines: dict[tuple[str, str], dict[float, str]] = defaultdict(dict)
        for row in mine:
            if row["by"]:
                cell = " / ".join(f"{row[stage]:.1f}" for stage in STAGES)
                lines[row["by"], row["way"]][row["share"]] = cell
        for (by, way), cells in lines.items():
            yield f"| `{by}` | {way} | {' | '.join(cells.get(s, '') for s in shares)} |"


def plotted(rows: list[dict], path: Path) -> None:
    """Draw accuracy against share left: one column a way, one row a net and stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if row["by"]]
    nets = list(dict.fromkeys(row["net"] for row in rows))
    names = list(dict.fromkeys(row["way"] for row in rows))
    shown = ("healed", f"{EPOCHS} epochs")
    lines = [(net, stage) for net in nets for stage in shown]
    size = (4 * len(names), 3 * len(lines))
    figure, axes = pyplot.subplots(
        len(lines), len(names), figsize=size, squeeze=False, sharey="row"
    )
    colours = matplotlib.colormaps["tab20"]
    for line, (net, stage) in zip(axes, lines, strict=True):
        for axis, way in zip(line, names, strict=True):
            for number, by in enumerate(CRITERIA):
                points = sorted(
                    (row["share"], row[stage])
                    for row in rows
                    if (row["net"], row["way"], row["by"]) == (net, way, by)
                )
                if points:
                    dash = "--" if by == "random" else "-"
                    axis.plot(*zip(*points, strict=True), dash, color=colours(number), label=by)
            axis.set_title(f"{net}, {way}\n{stage}", fontsize=9)
            axis.set_xlabel("share of the MACs left")
            axis.invert_xaxis()
        line[0].set_ylabel("accuracy, %")
    axes[0][0].legend(fontsize=6, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a folder for all that is made")
    parser.add_argument("--data", type=Path, help="a folder with the package of CIFAR-10")
    parser.add_argument("--model", type=Path, help="a trained model instead of the residual net")
    parser.add_argument("--depth", type=int, default=8, help="of the residual net")
    parser.add_argument("--epochs", type=int, default=20, help="of the residual net's training")
    parser.add_argument("--rows", type=int, default=2500, help="training images that are seen")
    parser.add_argument("--judged", type=int, default=2000, help="test images that are judged on")
    parser.add_argument("--shares", type=float, nargs="*", default=list(SHARES))
    parser.add_argument("--scopes", nargs="*", default=["global", "isomorphic"])
    parser.add_argument("--samples", type=int, default=256, help="images for criteria and healing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--plot", type=Path, help="a file for the plot")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    keep_memory()
    if not options.table:
        if options.model is None:
            everything = cifar10(options.data or options.work)
            measured(options, whole(options, everything), f"ResNet-{options.depth}")
        else:
            model = keras.models.load_model(options.model, compile=False)
            measured(options, model, options.model.stem)
    print("\n".join(table(rows_of(options.work))))
    if options.plot:
        plotted(rows_of(options.work), options.plot)


if __name__ == "__main__":
    main()
