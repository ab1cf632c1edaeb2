"""Secateur beside Torch-Pruning: the same architectures, cut to half of their multiply-adds.

    python benchmarks/torch_pruning.py --torch-python ../torchenv/bin/python
    python benchmarks/torch_pruning.py --torch-python PATH MobileNetV2   # some

Each tool prunes each architecture in a process of its own: random weights, photos of 224 x 224,
one at a time. `torch_peer.py` says how Torch-Pruning is called. Seconds are the processor's, on one
thread. Both results are exported to ONNX; there the multiply-adds of both are counted by one
function, and ONNX Runtime runs all the files of one architecture in turn, on one thread.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INSTALL = (
    "Torch-Pruning is not there: make an environment with `pip install torch==2.13.0 "
    "torchvision==0.28.0 torch-pruning==1.6.1 onnx` and pass its Python as --torch-python."
)
PEER = Path(__file__).with_name("torch_peer.py")
PLAIN = ("default", "global", "round_to=8")
ARCHITECTURES = {
    "ResNet-50": PLAIN,
    "MobileNetV2": PLAIN,
    "DenseNet-121": PLAIN,
    "ViT-B/16": (*PLAIN, "default, q/k/v apart", "round_to=8, q/k/v apart"),
}
COLUMNS = (
    "model",
    "tool",
    "seconds to half",
    "with the ratio known",
    "peak MiB (more)",
    "MACs left, own count",
    "MACs left, in ONNX",
    "half?",
    "runs",
    "time left",
)
# Counters differ in what they leave out, so a hair over half by the other one still counts.
HALF = 0.505
COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")


def build(name: str):
    import keras
    import numpy as np

    if name == "ViT-B/16":
        model = vit()
    else:
        constructor = getattr(keras.applications, name.replace("-", ""))
        model = constructor(weights=None, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.9, 1.1, weight.shape))
        if weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.02, weight.shape))
    return model


def vit(width: int = 768, depth: int = 12, heads: int = 12):
    import keras
    from keras import layers

    class Tokens(layers.Layer):
        """A learned first token, and a learned position for each."""

        def build(self, shape):
            self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")
            self.position = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), name="position")

        def call(self, x):
            token = keras.ops.broadcast_to(self.token, (keras.ops.shape(x)[0], 1, x.shape[-1]))
            return keras.ops.concatenate([token, x], axis=1) + self.position

    photo = keras.Input((224, 224, 3))
    x = layers.Reshape((196, width))(layers.Conv2D(width, 16, strides=16)(photo))
    x = Tokens()(x)
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dense(4 * width)(y)
        # The exact GELU, as PyTorch has it; Keras' own is of erfc, which ONNX lacks.
        y = 0.5 * y * (1 + keras.ops.erf(y / 2**0.5))
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(photo, layers.Dense(1000)(x[:, 0]))


def ours(name: str, folder: Path) -> dict:
    """Cut one model with secateur and export it, before and after."""
    import numpy as np

    from secateur.formats.onnx import to_onnx
    from secateur.graph.observe import observe
    from secateur.graph.trace import trace
    from secateur.planning.plan import plan
    from secateur.steps.cutting import cut

    model = build(name)
    before = peak()
    start = time.process_time()
    graph = trace(model)
    made = plan(graph, observe(graph), macs=0.5, by="l2")
    smaller = cut(model, made)
    seconds = time.process_time() - start
    found = {"seconds": seconds, "search": None, "peak MiB": peak(), "more MiB": peak() - before}
    found["macs before"], found["macs after"] = made.before["macs"], made.after["macs"]
    x = np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype("float32")
    answer = np.asarray(smaller(x, training=False))
    found["runs"] = answer.shape == (1, 1000) and bool(np.isfinite(answer).all())
    to_onnx(model, folder / "before.onnx")
    to_onnx(smaller, folder / "after.onnx")
    return found


def peak() -> float:
    """Return the most memory that this program held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # The kernel's other figure, ru_maxrss, starts at what the parent process held.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def multiply_adds(path: Path) -> int:
    """Count a file's multiply-adds for one photo, by the shapes that really occur."""
    import numpy as np
    import onnx
    import onnxruntime

    model = onnx.load(path)
    nodes = [node for node in model.graph.node if node.op_type in COUNTED]
    wanted = {name for node in nodes for name in (*node.input[:2], *node.output)}
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    inputs = {value.name for value in model.graph.input}
    for name in wanted - weights.keys() - outputs - inputs:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    feed = {
        value.name: np.zeros([n if isinstance(n, int) else 1 for n in value.shape], np.float32)
        for value in session.get_inputs()
    }
    names = [value.name for value in session.get_outputs()]
    shapes = {n: v.shape for n, v in zip(names, session.run(names, feed), strict=True)}
    shapes |= weights | {name: value.shape for name, value in feed.items()}
    return sum(_of(node, shapes) for node in nodes)


def _of(node, shapes: dict) -> int:
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    first, second, out = (shapes[name] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    if node.op_type == "Einsum":
        letters = attributes["equation"].decode().replace(" ", "").split("->")[0].split(",")
        sizes = {}
        for term, shape in zip(letters, (first, second), strict=True):
            sizes |= dict(zip(term, shape, strict=True))
        return math.prod(sizes.values())
    inner = first[0] if attributes.get("transA") else first[-1]
    return math.prod(out) * inner


def run(command: list[str]) -> dict:
    """Run a program on one thread that prints JSON last; return that, or its error."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return {"error": last}
    return json.loads(done.stdout.splitlines()[-1])


def theirs(python: str, name: str, way: str, folder: Path) -> dict:
    if way.endswith(", q/k/v apart"):
        name, way = f"{name}, q/k/v apart", way.removesuffix(", q/k/v apart")
    looked = run([python, str(PEER), "search", name, way])
    if "error" in looked:
        return looked
    done = run([python, str(PEER), "cut", name, way, str(looked["ratio"]), str(folder)])
    return {**looked, **done}


def compared(name: str, python: str) -> list[str]:
    """Measure one architecture; return its rows of the table."""
    from secateur.cost.race import race

    with tempfile.TemporaryDirectory() as parent:
        found, paths = {}, {}
        for tool in ("secateur", *ARCHITECTURES[name]):
            folder = Path(parent) / tool.replace("/", "")
            folder.mkdir()
            if tool == "secateur":
                found[tool] = run([sys.executable, __file__, "--one", name, str(folder)])
            else:
                found[tool] = theirs(python, name, tool, folder)
            if "error" not in found[tool]:
                paths |= {(tool, file.stem): file for file in sorted(folder.glob("*.onnx"))}
                counts = [multiply_adds(folder / f"{s}.onnx") for s in ("before", "after")]
                found[tool]["counts"] = counts
        times = race(paths, batch=1, threads=1, seconds=30, least=20)
        for tool, what in found.items():
            if (tool, "after") in times:
                after, before = times[tool, "after"], times[tool, "before"]
                what["time left"] = after.median_ms / before.median_ms
        print(json.dumps({name: found}), file=sys.stderr, flush=True)
        return [shown(name, tool, what) for tool, what in found.items()]


def shown(name: str, tool: str, found: dict) -> str:
    tool = tool if tool == "secateur" else f"Torch-Pruning, {tool}"
    if "error" in found:
        return f"| {name} | {tool} | failed: {found['error']} |"
    own = found["macs after"] / found["macs before"]
    before, after = found["counts"]
    cells = (
        name,
        tool,
        f"{found['search'] or found['seconds']:.1f}",
        f"{found['seconds']:.1f}" if found["search"] else "",
        f"{found['peak MiB']:.0f} ({found['more MiB']:.0f})",
        f"{own:.1%} of {found['macs before'] / 1e9:.2f} G",
        f"{after / before:.1%} of {before / 1e9:.2f} G",
        "yes" if min(own, after / before) <= 0.5 and max(own, after / before) <= HALF else "no",
        "yes" if found["runs"] else "NO",
        f"{found['time left']:.0%}",
    )
    failures = found.get("failures")
    note = f" Tries that failed: {'; '.join(failures)} |" if failures else ""
    return f"| {' | '.join(cells)} |{note}"


def check_peer(python: str) -> None:
    """Leave with a word on the installation if Torch-Pruning is not there."""
    try:
        check = [python, str(PEER), "--check"]
        there = subprocess.run(check, capture_output=True, check=False).returncode == 0
    except OSError:
        there = False
    if not there:
        print(INSTALL, file=sys.stderr)
        sys.exit(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--torch-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(ours(options.one[0], Path(options.one[1]))))
        return
    check_peer(options.torch_python)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name in options.models:
        print("\n".join(compared(name, options.torch_python)), flush=True)


if __name__ == "__main__":
    main()
