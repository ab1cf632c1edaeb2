"""The Torch-Pruning side of `torch_pruning.py`: one model, one way to call it, one process.

    python benchmarks/torch_peer.py search "ResNet-50" default
    python benchmarks/torch_peer.py cut "ResNet-50" default 0.3 FOLDER

Torch-Pruning asks for a share of the channels, not of the multiply-adds. `search` looks for the
least share that halves them by its own counter: it halves the interval, each try one step on a
fresh model, which is quicker than the many small steps of its own benchmark. `cut` does that one
step, as for a user who knows the share, and writes `before.onnx` and `after.onnx` into the folder.
Both print JSON. Times are the processor's, on one thread, so that a busy machine does not count.
They need torch, torchvision, torch-pruning and onnx, and nothing of secateur.
"""

import copy
import json
import resource
import sys
import time
import warnings
from pathlib import Path

# The folder of this file holds a script with the name of the package that is to be imported.
sys.path.pop(0)

TRIES = 7
SEED = 0
WAYS = {
    "default": {},
    "global": {"global_pruning": True},
    "round_to=8": {"round_to": 8},
}
BUILDERS = {
    "ResNet-50": "resnet50",
    "MobileNetV2": "mobilenet_v2",
    "DenseNet-121": "densenet121",
    "ViT-B/16": "vit_b_16",
    "ViT-B/16, q/k/v apart": "vit_b_16",
}


def packages():
    """Return torch, torchvision and torch_pruning."""
    import torch

    # torchvision's models run without its compiled operators, which need not fit a CPU build of
    # torch, but its import asks for the names of two of them.
    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        if not hasattr(torch.ops.torchvision, name) and not compiled():
            torch.library.define(f"torchvision::{name}", schema)
    import torchvision

    import torch_pruning

    return torch, torchvision, torch_pruning


def compiled() -> bool:
    """Tell whether torchvision's compiled operators load."""
    import ctypes
    import importlib.util

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True
    try:
        for library in Path(spec.submodule_search_locations[0]).glob("_C*"):
            ctypes.CDLL(str(library))
    except OSError:
        return False
    return True


def build(name: str):
    """Return the model with random weights that no two units share."""
    torch, torchvision, _ = packages()
    torch.manual_seed(SEED)
    model = getattr(torchvision.models, BUILDERS[name])(weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.9, 1.1)
            torch.nn.init.normal_(module.bias, 0, 0.02)
            torch.nn.init.normal_(module.running_mean, 0, 0.02)
            torch.nn.init.uniform_(module.running_var, 0.9, 1.1)
    if name.endswith("apart"):
        attention = apart(torch)
        for block in model.encoder.layers:
            block.self_attention = attention(block.self_attention)
    if BUILDERS[name] == "vit_b_16":
        # torchvision starts the classifier at zero, which hides what is in front of it.
        torch.nn.init.normal_(model.heads.head.weight, 0, 0.02)
    return model


def apart(torch):
    """Return attention with a linear layer for each of query, key and value."""

    class Attention(torch.nn.Module):
        def __init__(self, whole):
            super().__init__()
            self.heads, width = whole.num_heads, whole.embed_dim
            self.q, self.k, self.v, self.out = (torch.nn.Linear(width, width) for _ in range(4))

        def forward(self, x, *_, **__):
            def split(y):
                return y.reshape(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)

            q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
            weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
            y = (weights @ v).transpose(1, 2)
            return self.out(y.reshape(y.shape[0], y.shape[1], -1)), None

    return Attention


def pruner(name: str, model, way: dict, x, ratio: float):
    """Return the pruner as Torch-Pruning's examples for such a model make it."""
    torch, _, tp = packages()
    options = dict(way)
    ignored = [m for m in model.modules() if getattr(m, "out_features", None) == 1000]
    if BUILDERS[name] == "vit_b_16":
        heads = model.encoder.layers[0].num_heads
        if name.endswith("apart"):
            options["num_heads"] = {
                layer: heads
                for block in model.encoder.layers
                for layer in (
                    block.self_attention.q,
                    block.self_attention.k,
                    block.self_attention.v,
                )
            }
        else:
            # The width must divide by the heads; its examples see to that by rounding.
            options["round_to"] = 24 if "round_to" in options else heads
            linear = torch.nn.modules.linear.NonDynamicallyQuantizableLinear
            ignored += [m for m in model.modules() if isinstance(m, linear)]
    return tp.pruner.MetaPruner(
        model,
        x,
        importance=tp.importance.GroupMagnitudeImportance(),
        pruning_ratio=ratio,
        ignored_layers=ignored,
        **options,
    )


def shrink(name: str, model, way: str, x, ratio: float) -> None:
    pruner(name, model, WAYS[way], x, ratio).step()
    if hasattr(model, "hidden_dim"):
        # torchvision's ViT reads its width from here, as the examples say.
        model.hidden_dim = model.conv_proj.out_channels


def search(name: str, way: str) -> dict:
    torch, _, tp = packages()
    x = photo(torch)
    model = build(name)
    start = time.process_time()
    macs = tp.utils.count_ops_and_params(model, x)[0]

    def left(ratio: float) -> float:
        smaller = copy.deepcopy(model)
        shrink(name, smaller, way, x, ratio)
        return tp.utils.count_ops_and_params(smaller, x)[0] / macs

    found, failures = least_ratio(left, TRIES)
    seconds = time.process_time() - start
    if found is None:
        return {"error": failures[-1] if failures else "no ratio halves the multiply-adds"}
    return {"ratio": found, "search": seconds, "failures": failures}


def least_ratio(left, tries: int) -> tuple:
    """Halve the interval; return the least ratio that leaves at most half, and what failed."""
    low, high, found, failures = 0.0, 1.0, None, []
    for _ in range(tries):
        ratio = (low + high) / 2
        try:
            share = left(ratio)
        except Exception as error:
            # A ratio that it cannot do is one too high.
            failures.append(f"at ratio {ratio:.2f} {said(error)}")
            high = ratio
            continue
        if share > 0.5:
            low = ratio
        else:
            found, high = ratio, ratio
    return found, failures


def cut(name: str, way: str, ratio: float, folder: Path) -> dict:
    torch, _, tp = packages()
    x = photo(torch)
    model = build(name)
    before = peak()
    start = time.process_time()
    shrink(name, model, way, x, ratio)
    seconds = time.process_time() - start
    found = {"seconds": seconds, "peak MiB": peak(), "more MiB": peak() - before}
    whole = build(name)
    found["macs before"] = tp.utils.count_ops_and_params(whole, x)[0]
    found["macs after"] = tp.utils.count_ops_and_params(model, x)[0]
    with torch.no_grad():
        answer = model(x)
    found["runs"] = tuple(answer.shape) == (1, 1000) and bool(torch.isfinite(answer).all())
    for stage, what in (("before", whole), ("after", model)):
        torch.onnx.export(what, (x,), str(folder / f"{stage}.onnx"), dynamo=False)
    return found


def photo(torch):
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(SEED))


def said(error: Exception) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first}"


def peak() -> float:
    """Return the most memory that this program held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # The kernel's other figure, ru_maxrss, starts at what the parent process held.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["--check"]:
        packages()
        return
    packages()[0].set_num_threads(1)
    what, name, way, *rest = sys.argv[1:]
    try:
        if what == "search":
            found = search(name, way)
        else:
            found = cut(name, way, float(rest[0]), Path(rest[1]))
    except Exception as error:
        found = {"error": said(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
