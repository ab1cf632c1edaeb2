"""The PyTorch side of `torch_trained.py`: the same net with the same weights, in torch.

    python benchmarks/torch_trained_peer.py whole FOLDER SETTINGS
    python benchmarks/torch_trained_peer.py prune FOLDER SETTINGS taylor global 0

`whole` writes what the converted net answers to some test images, and its ONNX file. `prune` lets
Torch-Pruning cut it to half of its multiply-adds, for one criterion, one scope and one seed, and
fine-tunes the result. Both print JSON; settings are JSON too. They need torch, torch-pruning and
onnx, and nothing of secateur.
"""

import copy
import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np

from cifar import batches, blocks
from torch_peer import least_ratio, packages, said

# Not by import: a script beside this one has the name of the package.
torch, _, tp = packages()
nn, functional = torch.nn, torch.nn.functional

TRIES = 10
BATCH = 128
SCOPES = {
    "local": {},
    "global": {"global_pruning": True},
    "isomorphic": {"global_pruning": True, "isomorphic": True},
}


class Net(nn.Module):
    """The residual net, with the names of its Keras original."""

    def __init__(self, depth: int, epsilon: float, momentum: float):
        super().__init__()
        self.parts = nn.ModuleDict()

        def convolution(name: str, inputs: int, outputs: int, size: int, stride: int) -> None:
            self.parts[name] = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
            # Keras' momentum is the share that stays, that of torch the share that is new.
            norm = nn.BatchNorm2d(outputs, eps=epsilon, momentum=1 - momentum)
            self.parts[f"{name}_norm"] = norm

        convolution("stem", 3, 16, 3, 1)
        self.blocks, before = list(blocks(depth)), 16
        for name, width, stride in self.blocks:
            convolution(f"{name}_first", before, width, 3, stride)
            convolution(f"{name}_second", width, width, 3, 1)
            if stride > 1:
                convolution(f"{name}_short", before, width, 1, stride)
            before = width
        self.parts["classes"] = nn.Linear(before, 10)

    def load(self, weights: dict) -> None:
        """Take the weights of the Keras net, by layer and name."""
        for name, part in self.parts.items():
            values = {
                key.split("/")[1]: weights[key] for key in weights if key.startswith(f"{name}/")
            }
            if isinstance(part, nn.BatchNorm2d):
                state = {
                    "weight": values["gamma"],
                    "bias": values["beta"],
                    "running_mean": values["moving_mean"],
                    "running_var": values["moving_variance"],
                }
            elif isinstance(part, nn.Linear):
                state = {"weight": values["kernel"].T, "bias": values["bias"]}
            else:
                state = {"weight": values["kernel"].transpose(3, 2, 0, 1)}
            tensors = {key: torch.tensor(np.ascontiguousarray(v)) for key, v in state.items()}
            part.load_state_dict(tensors, strict=False)

    def normalised(self, name: str, x):
        """Return a convolution's output, normalised."""
        return self.parts[f"{name}_norm"](self.parts[name](x))

    def forward(self, x):
        """Return the logits for images of values from 0 to 255."""
        x = functional.relu(self.normalised("stem", x / 64 - 2))
        for name, _, stride in self.blocks:
            y = functional.relu(self.normalised(f"{name}_first", x))
            y = self.normalised(f"{name}_second", y)
            x = functional.relu(y + (self.normalised(f"{name}_short", x) if stride > 1 else x))
        return self.parts["classes"](x.mean((2, 3)))


def images(x: np.ndarray):
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), dtype=torch.float32)


def answers(net, x: np.ndarray):
    net.eval()
    with torch.no_grad():
        return torch.cat([net(images(x[i : i + 500])) for i in range(0, len(x), 500)])


def accuracy(net, data: dict) -> float:
    found = answers(net, data["x_test"]).argmax(1).numpy()
    return 100 * float((found == data["y_test"]).mean())


def multiply_adds(net) -> int:
    """Count those of convolutions and dense layers, for one image."""
    counts, hooks = [], []
    for part in net.parts.values():
        if isinstance(part, (nn.Conv2d, nn.Linear)):

            def count(part, _, y) -> None:
                counts.append(y[0].numel() * part.weight[0].numel())

            hooks.append(part.register_forward_hook(count))
    answers(net, np.zeros((1, 32, 32, 3)))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def cut(net, by: str, scope: str, ratio: float, seen: tuple):
    """Return a copy that is cut once, called as Torch-Pruning's examples call it."""
    smaller = copy.deepcopy(net).eval()
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    if by == "taylor":
        importance = tp.importance.GroupTaylorImportance()
        for start in range(0, len(seen[0]), BATCH):
            x, y = (array[start : start + BATCH] for array in seen)
            functional.cross_entropy(smaller(images(x)), torch.tensor(y).long()).backward()
    tp.pruner.BasePruner(
        smaller,
        images(seen[0][:1]),
        importance=importance,
        pruning_ratio=ratio,
        ignored_layers=[smaller.parts["classes"]],
        round_to=8,
        **SCOPES[scope],
    ).step()
    smaller.zero_grad()
    return smaller


def estimated(net, x: np.ndarray):
    """Return a copy with the statistics of its normalisations taken from some rows."""
    again = copy.deepcopy(net)
    for part in again.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
    again.train()
    with torch.no_grad():
        for start in range(0, len(x), BATCH):
            again(images(x[start : start + BATCH]))
    return again


def tune(net, data: dict, settings: dict, seed: int) -> None:
    steps, rate = settings["steps"], settings["rate"]
    net.train()
    # Keras' epsilon.
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, eps=1e-7)
    given = batches(data["x_train"], data["y_train"], size=BATCH, steps=steps, seed=seed)
    for step, (x, y) in enumerate(given):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        functional.cross_entropy(net(images(x)), torch.tensor(y).long()).backward()
        optimizer.step()


def to_onnx(net, path: Path) -> None:
    net.eval()
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        dynamo=False,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
    )


def whole(folder: Path, settings: dict):
    net = Net(settings["depth"], settings["epsilon"], settings["momentum"])
    net.load(arrays(folder / "whole.npz"))
    return net


def arrays(path: Path) -> dict:
    with np.load(path) as found:
        return dict(found)


def prune(folder: Path, settings: dict, by: str, scope: str, seed: int) -> dict:
    net, data = whole(folder, settings), arrays(folder / "data.npz")
    rows = data[f"seen_{seed}"]
    seen = data["x_train"][rows], data["y_train"][rows]
    macs = multiply_adds(net)
    ratio, failures = least_ratio(
        lambda ratio: multiply_adds(cut(net, by, scope, ratio, seen)) / macs, TRIES
    )
    if ratio is None:
        return {"error": failures[-1] if failures else "no ratio halves the multiply-adds"}
    torch.manual_seed(seed)
    smaller = cut(net, by, scope, ratio, seen)
    name = f"torch-{by}-{scope}-{seed}"
    to_onnx(smaller, folder / f"{name}.onnx")
    found = {"ratio": ratio, "failures": failures, "widths": widths(smaller)}
    found["macs"] = multiply_adds(smaller) / macs
    found["cut"] = accuracy(smaller, data)
    found["statistics"] = accuracy(estimated(smaller, seen[0]), data)
    tune(smaller, data, settings, seed)
    return {**found, "tuned": accuracy(smaller, data)}


def widths(net) -> dict:
    convolutions = {n: p for n, p in net.parts.items() if isinstance(p, nn.Conv2d)}
    return {name: part.out_channels for name, part in convolutions.items()}


def main() -> None:
    warnings.simplefilter("ignore")
    what, folder, settings, *rest = sys.argv[1:]
    folder, settings = Path(folder), json.loads(settings)
    try:
        if what == "whole":
            net, data = whole(folder, settings), arrays(folder / "data.npz")
            to_onnx(net, folder / "whole-torch.onnx")
            np.save(folder / "answers.npy", answers(net, data["x_test"]).numpy())
            found = {"cut": accuracy(net, data)}
            tune(net, data, settings, seed=0)
            found["tuned"] = accuracy(net, data)
        else:
            by, scope, seed = rest
            found = prune(folder, settings, by, scope, int(seed))
    except Exception as error:
        found = {"error": said(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
