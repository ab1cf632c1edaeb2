"""Every model of keras.applications: traced, cut to half of its multiply-adds, checked, reloaded.

    python benchmarks/zoo.py                       # all of them, with random weights
    python benchmarks/zoo.py ResNet50 NASNetLarge  # some
    python benchmarks/zoo.py --small               # instead, every tiny wiring of the tests

Each model runs in a process of its own, so that peak memory is its own. `cut = mask` is the largest
difference between the outputs of the cut and of the masked model, relative to the largest output;
it is not asked of models that normalise across channels (ConvNeXt), where a cut changes what the
remaining channels become.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLUMNS = ("parameters", "prunable", "MACs left", "cut = mask", "reloads", "seconds", "peak MiB")
TOLERANCE = 1e-4


def names() -> list[str]:
    import keras

    every = vars(keras.applications).items()
    return sorted(name for name, build in every if callable(build) and name[0].isupper())


def one(name: str) -> dict:
    import keras
    import numpy as np
    from keras import layers

    from secateur.graph.observe import observe
    from secateur.graph.trace import trace
    from secateur.planning.plan import plan
    from secateur.steps.cutting import cut
    from secateur.steps.masks import mask

    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        # Fresh statistics are zeros and ones, the same for every unit. Wider spreads than these
        # make a net of 300 layers so unstable that rounding errors alone change its answer.
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.9, 1.1, weight.shape))
        if weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.02, weight.shape))
    start = time.perf_counter()
    graph = trace(model)
    made = plan(graph, observe(graph), macs=0.5, by="l2")
    smaller = cut(model, made)
    seconds = time.perf_counter() - start
    # MobileNetV3 leaves the size of its photos open.
    sides = (side or 224 for side in model.input_shape[1:3])
    x = rng.normal(size=(1, *sides, 3)).astype("float32")
    answer = np.asarray(smaller(x, training=False))
    mixes = any(isinstance(layer, layers.LayerNormalization) for layer in model._flatten_layers())
    wanted = np.asarray(mask(model, made)(x, training=False))
    difference = float(np.abs(answer - wanted).max() / np.abs(wanted).max())
    assert np.abs(answer).max() > 0
    held = sum(
        np.prod(weight.shape)
        for weight in graph.weights.values()
        if all(ids is None or not free(graph, ids).any() for ids in weight.axes)
    )
    return {
        "parameters": graph.parameters(),
        "prunable": 1 - float(held) / graph.parameters(),
        "MACs left": made.after["macs"] / made.before["macs"],
        "cut = mask": None if mixes else difference,
        "reloads": reloads(smaller, x, answer),
        "seconds": seconds,
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def free(graph, ids):
    import numpy as np

    mask = np.zeros(graph.units, bool)
    for group in graph.groups:
        mask[group.units[group.free]] = True
    return mask[ids]


def reloads(model, x, answer) -> bool:
    """Load the saved model with stock Keras in a process in which secateur cannot be imported."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        np.savez(Path(folder) / "data.npz", x=x, y=answer)
        program = (
            "import sys; sys.modules['secateur'] = None\n"
            "import keras, numpy as np\n"
            "model = keras.models.load_model(sys.argv[1] + '/model.keras', safe_mode=True)\n"
            "data = np.load(sys.argv[1] + '/data.npz')\n"
            "found = np.asarray(model(data['x'], training=False))\n"
            "scale = np.abs(data['y']).max()\n"
            "sys.exit(int(np.abs(found - data['y']).max() > 1e-5 * scale))\n"
        )
        return subprocess.run([sys.executable, "-c", program, folder], check=False).returncode == 0


def green(found: dict) -> bool:
    difference = found.get("cut = mask")
    return (
        "error" not in found
        and 0.45 < found["MACs left"] <= 0.5
        and (difference is None or difference < TOLERANCE)
        and found["reloads"]
    )


def shown(name: str, found: dict) -> str:
    if "error" in found:
        return f"| {name} | {found['error']} |"
    difference = found["cut = mask"]
    cells = (
        f"{found['parameters']:,}",
        f"{found['prunable']:.0%}",
        f"{found['MACs left']:.1%}",
        "normalises across" if difference is None else f"{difference:.0e}",
        "yes" if found["reloads"] else "NO",
        f"{found['seconds']:.1f}",
        f"{found['peak MiB']:.0f}",
    )
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="the wirings of tests/zoo")
    options = parser.parse_args()
    if options.small:
        import wirings

        sys.exit(wirings.main(options.models))
    if options.one:
        print(json.dumps(one(options.one)))
        return
    print(f"| model | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    good = 0
    models = options.models or names()
    for name in models:
        command = [sys.executable, __file__, "--one", name]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        found = json.loads(done.stdout) if done.returncode == 0 else {"error": last}
        good += green(found)
        print(shown(name, found), flush=True)
    print(f"\n{good} of {len(models)} green")
    sys.exit(good != len(models))


if __name__ == "__main__":
    main()
