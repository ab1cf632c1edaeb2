"""Secateur beside Torch-Pruning on one trained net: accuracy after the cut, and time.

    python benchmarks/torch_trained.py --torch-python ../torchenv/bin/python --work runs/trained
    python benchmarks/torch_trained.py --work runs/trained --race    # the times and the table again

A residual net is trained once on CIFAR-10 in Keras and converted to PyTorch, where it must answer
alike. Both tools cut it to half of its multiply-adds, widths at multiples of 8, on the same rows
for the same seed, and both results are fine-tuned on the same batches with the same optimizer.
All files then run in turn in ONNX Runtime, on one thread. What is done lies in the folder, so a
run that was broken off goes on. `torch_trained_peer.py` says how Torch-Pruning is called.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import keras
import numpy as np
from keras import layers

from cifar import batches, blocks, cifar10
from secateur.cost.race import race, ratio
from secateur.data.read import read
from secateur.formats.onnx import to_onnx
from secateur.graph.weights import copied
from secateur.job.memory import keep_memory
from secateur.steps.healing import heal
from secateur.steps.prune import Prune
from torch_pruning import check_peer, multiply_adds, run

PEER = Path(__file__).with_name("torch_trained_peer.py")
BATCH, SAMPLES, EPSILON, MOMENTUM = 128, 512, 1e-5, 0.9
CRITERIA = ("taylor", "l2")
SCOPES = ("local", "global")
TITLES = {"half": "half", "least": "the least of theirs"}
# Keras and PyTorch add up in other orders.
ALIKE = 1e-4
COLUMNS = (
    "tool",
    "MACs left",
    "as cut",
    "statistics re-estimated",
    "healed",
    "fine-tuned",
    "time left, 1 image",
    "time left, 64 images",
)


def build(depth: int) -> keras.Model:
    """Build the net; strided convolutions are padded on all sides, as PyTorch pads them."""
    image = keras.Input((32, 32, 3), name="image")

    def normalised(name: str, x, width: int, size: int, stride: int):
        if size > 1 and stride > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        padding = "same" if stride == 1 else "valid"
        x = layers.Conv2D(width, size, stride, padding, use_bias=False, name=name)(x)
        return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_norm")(x)

    x = layers.Rescaling(1 / 64, -2)(image)
    x = layers.ReLU()(normalised("stem", x, 16, 3, 1))
    for name, width, stride in blocks(depth):
        y = layers.ReLU()(normalised(f"{name}_first", x, width, 3, stride))
        y = normalised(f"{name}_second", y, width, 3, 1)
        if stride > 1:
            x = normalised(f"{name}_short", x, width, 1, stride)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="classes")(x), name=f"resnet{depth}")


def fit(model: keras.Model, optimizer, data: dict, steps: int, seed: int) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    given = batches(data["x_train"], data["y_train"], size=BATCH, steps=steps, seed=seed)
    model.fit(given, steps_per_epoch=steps, shuffle=False, verbose=0)


def tuned(model: keras.Model, data: dict, options, seed: int) -> keras.Model:
    """Return a fine-tuned copy."""
    twin = copied(model)
    rate = keras.optimizers.schedules.CosineDecay(options.rate, options.steps)
    fit(twin, keras.optimizers.Adam(rate, epsilon=1e-7), data, options.steps, seed)
    return twin


def whole(options, data: dict) -> keras.Model:
    """Return the trained net, from the folder if it is there."""
    path = options.work / "whole.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        model = build(options.depth)
        steps = options.epochs * (len(data["x_train"]) // BATCH)
        rate = keras.optimizers.schedules.CosineDecay(
            0.01, steps - steps // 10, warmup_target=0.1, warmup_steps=steps // 10
        )
        sgd = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)
        fit(model, sgd, data, steps, seed=0)
        copied(model).save(path)
    return keras.models.load_model(path)


def answers(model: keras.Model, x: np.ndarray) -> np.ndarray:
    parts = [
        model(x[i : i + 500].astype(np.float32), training=False) for i in range(0, len(x), 500)
    ]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def accuracy(model: keras.Model, data: dict) -> float:
    return 100 * float((answers(model, data["x_test"]).argmax(1) == data["y_test"]).mean())


def ours(options, name: str, prepared: tuple, *, unhealed: bool, **asked) -> dict:
    """Cut, heal and fine-tune for one seed, and fine-tune without healing where that is wanted."""
    data, dataset, model = prepared
    seed = asked["seed"]
    result = Prune(round_to=8, samples=SAMPLES, **asked)(model, dataset)
    stages = {stage.name: stage.model for stage in result.stages}
    x, _ = dataset.train.sample(SAMPLES, seed=seed)
    (made,) = result.plans
    statistics, _ = heal(stages["cut"], model, made, x, readers=False)
    to_onnx(result.model, options.work / f"{name}.onnx")
    found = {"macs": made.after["macs"] / made.before["macs"]}
    found["widths"] = {
        layer.name: layer.filters
        for layer in result.model.layers
        if isinstance(layer, layers.Conv2D)
    }
    found["cut"] = accuracy(stages["cut"], data)
    found["statistics"] = accuracy(statistics, data)
    found["healed"] = accuracy(result.model, data)
    found["tuned"] = accuracy(tuned(result.model, data, options, seed), data)
    if unhealed:
        found["tuned unhealed"] = accuracy(tuned(stages["cut"], data, options, seed), data)
    return found


def theirs(options, *arguments: str) -> dict:
    settings = {name: getattr(options, name) for name in ("depth", "steps", "rate")}
    settings |= {"epsilon": EPSILON, "momentum": MOMENTUM}
    what, *rest = arguments
    command = [options.torch_python, str(PEER), what, str(options.work), json.dumps(settings)]
    return run([*command, *rest])


def kept(path: Path, make: Callable[[], dict]) -> dict:
    """Return what is in a JSON file, made first if it is not there."""
    if not path.exists():
        found = make()
        if "error" in found:
            return found
        path.write_text(json.dumps(found))
        print(f"{path.stem}: {found}", file=sys.stderr, flush=True)
    return json.loads(path.read_text())


def prepared(options) -> tuple[dict, object, keras.Model]:
    """Return the arrays, the data set and the net, and write for the peer what it needs."""
    named = ("depth", "epochs", "steps", "rate", "judged")
    made = {name: getattr(options, name) for name in named}
    if kept(options.work / "settings.json", lambda: made) != made:
        raise SystemExit(f"{options.work} is of a run with other settings: take another folder.")
    found = cifar10(options.data or options.work)
    dataset = read((found["x_train"], found["y_train"]), split=(0.9, 0.09, 0.01))
    data = {name: found[name][: options.judged] for name in ("x_test", "y_test")}
    data |= {"x_train": dataset.train.take(np.arange(dataset.train.rows))}
    data |= {"y_train": dataset.train.labels()}
    seen = {f"seen_{s}": dataset.train.sample_rows(SAMPLES, seed=s) for s in range(options.seeds)}
    np.savez(options.work / "data.npz", **data, **seen)
    model = whole(options, data)
    weights = {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }
    np.savez(options.work / "whole.npz", **weights)
    return data, dataset, model


def compared(options) -> None:
    """Do all that is not yet done, up to the times."""
    data, dataset, model = prepared(options)
    to_onnx(model, options.work / "whole-keras.onnx")
    # Fine-tuned, the whole net shows whether both frameworks train alike.
    found = kept(
        options.work / "whole-keras.json",
        lambda: {
            "cut": accuracy(model, data),
            "tuned": accuracy(tuned(model, data, options, seed=0), data),
        },
    )
    there = kept(options.work / "whole-torch.json", partial(theirs, options, "whole"))
    if "error" in there:
        raise SystemExit(f"the converted net does not run: {there['error']}")
    apart = np.abs(answers(model, data["x_test"]) - np.load(options.work / "answers.npy")).max()
    print(
        f"{model.name}: {found['cut']:.2f} % in Keras, {there['cut']:.2f} % in PyTorch, "
        f"logits at most {apart:.1e} apart on {len(data['x_test']):,} test rows",
        flush=True,
    )
    assert apart < ALIKE, "the conversion is wrong"
    for seed, by in product(range(options.seeds), CRITERIA):
        shares = []
        for scope in SCOPES:
            path = options.work / f"torch-{by}-{scope}-{seed}.json"
            found = kept(path, partial(theirs, options, "prune", by, scope, str(seed)))
            if "error" in found:
                print(f"{path.stem} failed: {found['error']}", flush=True)
            shares += [found["macs"]] if "macs" in found else []
        for way, asked in ways(min(shares, default=0.5)).items():
            name = f"secateur-{by}-{way}-{seed}"
            made = partial(ours, options, name, (data, dataset, model), by=by, seed=seed, **asked)
            kept(options.work / f"{name}.json", made)


def ways(least: float) -> dict[str, dict]:
    """Return how `Prune` is called, by a name for it.

    Args:
        least: the least share of the multiply-adds that any cut of Torch-Pruning's left. Widths in
            eights are coarse, so that is below half.
    """
    return {
        "half": {"macs": 0.5, "unhealed": True},
        "least": {"macs": least, "unhealed": False},
    }


def raced(options) -> dict[int, dict]:
    """Run all files in turn at both batch sizes; return for each the time left."""
    paths = {path.stem: path for path in sorted(options.work.glob("*.onnx"))}
    times = {}
    for batch in (1, 64):
        found = race(paths, batch=batch, threads=1, seconds=options.seconds, least=30, openings=5)
        times[batch] = {name: ratio(found["whole-keras"], each) for name, each in found.items()}
    return times


def spread(values: list[float], form: str) -> str:
    """Write a mean, and how far the values lie apart."""
    mean = form.format(np.mean(values))
    low, high = form.format(min(values)), form.format(max(values))
    return mean if low == high else f"{mean} ({low} to {high})"


def table(options) -> None:
    times = raced(options)
    macs = {p.stem: multiply_adds(p) for p in sorted(options.work.glob("*.onnx"))}
    base = macs["whole-keras"]
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name, title in (("whole-keras", "whole, Keras"), ("whole-torch", "whole, PyTorch")):
        found = json.loads((options.work / f"{name}.json").read_text())
        left = [f"{times[batch][name]:.0%}" for batch in (1, 64)]
        cells = [f"{macs[name] / base:.1%}", f"{found['cut']:.1f}", "", "", f"{found['tuned']:.1f}"]
        print(f"| {title} | {' | '.join([*cells, *left])} |")
    contenders = [
        (f"secateur-{by}-{way}", f"`secateur`, {by}, {title}")
        for by in CRITERIA
        for way, title in TITLES.items()
    ]
    contenders += [
        (f"torch-{by}-{scope}", f"Torch-Pruning, {by}, {scope}")
        for by in CRITERIA
        for scope in SCOPES
    ]
    for name, title in contenders:
        runs = [f"{name}-{seed}" for seed in range(options.seeds)]
        files = [options.work / f"{each}.json" for each in runs]
        if not all(path.exists() for path in files):
            print(f"| {title} | failed, or not run yet |")
            continue
        found = [json.loads(path.read_text()) for path in files]
        left = [100 * macs[each] / base for each in runs]

        def shown(key: str, found: list = found) -> str:
            return spread([each[key] for each in found], "{:.1f}") if key in found[0] else ""

        cells = [spread(left, "{:.1f}%"), *map(shown, ("cut", "statistics", "healed", "tuned"))]
        cells += [spread([100 * times[b][each] for each in runs], "{:.0f}%") for b in (1, 64)]
        print(f"| {title} | {' | '.join(cells)} |")
        if "tuned unhealed" in found[0]:
            cells[3:5] = "", shown("tuned unhealed")
            print(f"| {title}, not healed | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is done")
    parser.add_argument("--data", type=Path, help="where the package of CIFAR-10 lies, if it does")
    parser.add_argument("--depth", type=int, default=8, help="6n + 2")
    parser.add_argument("--epochs", type=int, default=10, help="of the whole net")
    parser.add_argument("--steps", type=int, default=351, help="of fine-tuning")
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest, in fine-tuning")
    parser.add_argument("--judged", type=int, default=10_000, help="test images that are judged on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each race")
    parser.add_argument("--race", action="store_true", help="only time again what is there")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    keep_memory()
    if not options.race:
        check_peer(options.torch_python)
        compared(options)
    table(options)


if __name__ == "__main__":
    main()
