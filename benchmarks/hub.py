"""KerasHub backbones, one a family: pruned to half of their multiply-adds, checked and reloaded.

    pip install keras-hub
    python benchmarks/hub.py            # all of tests/hub.py, with random weights
    python benchmarks/hub.py bert vit   # some

`cut = mask` is the largest difference between the outputs of the cut and of the masked model,
relative to the largest; it is not asked where a normalisation runs across what was cut. Every cut
model is saved and loaded again in a process that has Keras and KerasHub, and no secateur.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
COLUMNS = (
    "parameters",
    "prunable",
    "MACs left",
    "cut = mask",
    "reloads",
    "made again",
    "seconds",
    "what stays, and why",
)
TOLERANCE = 1e-4
RELOAD = """
import json, sys
sys.modules["secateur"] = None
import keras, keras_hub, numpy as np
folder, same = sys.argv[1], {}
for name in json.loads(sys.argv[2]):
    try:
        model = keras.models.load_model(f"{folder}/{name}.keras", safe_mode=True)
        data = np.load(f"{folder}/{name}.npz")
        count = sum(key.startswith("x") for key in data)
        x = keras.tree.pack_sequence_as(model.input, [data[f"x{k}"] for k in range(count)])
        found = keras.tree.flatten(model(x, training=False))
        pairs = [(np.asarray(y), data[f"y{k}"]) for k, y in enumerate(found)]
        apart = max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1)) for a, b in pairs)
        same[name] = apart <= 1e-5
        if not same[name]:
            print(f"{name}: differs by {apart}", file=sys.stderr)
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr)
        same[name] = False
print(json.dumps(same))
"""
# What a reason for a pin is about, in the words of the table.
REASONS = {
    "model input": "inputs",
    "model output": "the width of the output",
    "counts positions": "rows of tables that are looked up",
    "takes positions": "",
    "as a mask": "",
    "no config of": "what no config of {} can say",
    "cannot shrink": "what is merged with fixed tables (rotary positions) or fixed tensors",
    "softmax over": "what a softmax runs over",
    "computes across": "what is averaged, sorted or reduced",
    "has no rule": "{}, which cannot be followed",
}


@dataclass
class Found:
    """What was found of one backbone."""

    name: str
    parameters: int = 0
    prunable: float = 0.0
    left: float = 1.0
    difference: float | None = None
    made: str = ""
    seconds: float = 0.0
    why: str = ""
    error: str = ""
    reloads: bool = False

    @property
    def good(self) -> bool:
        """Say whether the cut model is what was promised of it."""
        same = self.difference is None or self.difference < TOLERANCE
        return not self.error and same and self.reloads

    def shown(self) -> str:
        """Return the row in Markdown."""
        if self.error:
            return f"| {self.name} | {self.parameters:,} | {self.error} |"
        cells = (
            f"{self.parameters:,}",
            f"{self.prunable:.0%}",
            f"{self.left:.1%}" + (" (the least)" if self.left > 0.5 else ""),
            "normalises across" if self.difference is None else f"{self.difference:.0e}",
            "yes" if self.reloads else "NO",
            self.made,
            f"{self.seconds:.1f}",
            self.why,
        )
        return f"| {self.name} | {' | '.join(cells)} |"


def check(name: str, folder: Path) -> Found:
    """Cut one backbone and leave it in a folder to be loaded again."""
    import keras
    import numpy as np

    from hub import HUB, inputs_of
    from secateur.errors import PlanError
    from secateur.graph.observe import observe
    from secateur.graph.trace import trace
    from secateur.steps.cutting import cut
    from secateur.steps.masks import mask

    model = HUB[name]()
    found = Found(name, model.count_params())
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "float" in str(weight.dtype):
            noise = rng.normal(0, 0.05, weight.shape)
            weight.assign(keras.ops.convert_to_numpy(weight) + noise)
    # Some hold what is derived from other weights and computed anew when they are loaded.
    model.save(folder / "original.keras")
    model = keras.models.load_model(folder / "original.keras")
    start = time.perf_counter()
    graph = trace(model)
    found.prunable, found.why = 1 - held(graph), reasons(graph)
    try:
        made = halved(graph, observe(graph))
    except PlanError:
        found.error = f"nothing to plan for: {found.why}"
        return found
    smaller = cut(model, made)
    found.seconds = time.perf_counter() - start
    found.left = made.after["macs"] / made.before["macs"]
    found.made = type(smaller).__name__ if graph.said else "layer by layer"
    x = inputs_of(name)
    answer = outputs(smaller, x)
    if not graph.mixing(made.keep(graph)):
        pairs = zip(answer, outputs(mask(model, made), x), strict=True)
        found.difference = max(apart(one, other) for one, other in pairs)
    smaller.save(folder / f"{name}.keras")
    arrays = keras.tree.flatten(x)
    named = {f"x{k}": v for k, v in enumerate(arrays)} | {f"y{k}": v for k, v in enumerate(answer)}
    np.savez(folder / f"{name}.npz", **named)
    return found


def outputs(model: Any, x: Any) -> list:
    import keras

    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def apart(one: Any, other: Any) -> float:
    import numpy as np

    assert one.shape == other.shape
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-9))


def halved(graph: Any, stats: Any) -> Any:
    """Plan for half of the multiply-adds, or for the least that there is."""
    from secateur.errors import BudgetError
    from secateur.planning.plan import plan

    for percent in range(50, 100):
        try:
            return plan(graph, stats, macs=percent / 100, by="l2", round_to=1, floor=0.02)
        except BudgetError:
            continue
    return plan(graph, stats, macs=0.99, by="l2", round_to=1, floor=0.02)


def held(graph: Any) -> float:
    """Return the share of the parameters that lie on no axis whose units may be removed."""
    import numpy as np

    free = np.zeros(graph.units, bool)
    for group in graph.groups:
        free[group.units[group.free]] = True
    stay = sum(
        prod(weight.shape)
        for weight in graph.weights.values()
        if all(ids is None or not free[ids].any() for ids in weight.axes)
    )
    return stay / max(graph.parameters(), 1)


def reasons(graph: Any) -> str:
    """Tell why the parameters that stay do, those that hold most of them first."""
    sizes: Counter[str] = Counter()
    for group in graph.fixed:
        weight = sum(prod(graph.weights[key].shape) for key in places(graph, group))
        if {"model input"} & set(group.pins) or not weight:
            continue
        sizes[said(group.pins)] += weight
    named = [reason for reason, _ in sizes.most_common() if reason]
    return "; ".join(named[:3])


def places(graph: Any, group: Any) -> set[str]:
    return {part.weight for part in group.slices if part.weight in graph.weights}


def said(pins: tuple[str, ...]) -> str:
    """Put the first telling reason into the words of the table."""
    for part, words in REASONS.items():
        for pin in pins:
            if part in pin and words:
                kinds = re.findall(r"\b[A-Z]\w+", pin)
                return words.format(kinds[0] if kinds else "it")
    return ""


def reloaded(names: list[str], folder: Path) -> dict[str, bool]:
    command = [sys.executable, "-c", RELOAD, str(folder), json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()
    if not last:
        raise SystemExit(done.stderr)
    for line in done.stderr.splitlines():
        if line.partition(": ")[0] in names:
            print(line[:300], file=sys.stderr)
    return json.loads(last[-1])


def main() -> int:
    """Print the table; return how many backbones are not good."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    try:
        import keras_hub  # noqa: F401
    except ImportError:
        print("KerasHub is not installed: pip install keras-hub", file=sys.stderr)
        return 2
    from hub import HUB
    from secateur.errors import SecateurError

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in options.backbones or HUB:
            try:
                rows.append(check(name, folder))
            except SecateurError as error:
                rows.append(Found(name, error=f"refused: {short(error)}"))
            except Exception as error:
                # One backbone that fails must not hide the others.
                rows.append(Found(name, error=f"FAILED: {type(error).__name__}: {short(error)}"))
            print(rows[-1].name, rows[-1].error or "done", file=sys.stderr, flush=True)
        same = reloaded([r.name for r in rows if (folder / f"{r.name}.keras").exists()], folder)
    print(f"| backbone | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for row in rows:
        row.reloads = same.get(row.name, False)
        print(row.shown())
    good = sum(row.good for row in rows)
    halves = sum(row.good and row.left <= 0.5 for row in rows)
    refused = sum(row.error.startswith(("refused", "nothing")) for row in rows)
    print(f"\n{good} of {len(rows)} pruned and loaded again, {halves} to half, {refused} refused")
    return len(rows) - good - refused


def short(error: Exception) -> str:
    return " ".join(str(error).split()).replace("|", "/")[:160]


if __name__ == "__main__":
    sys.exit(main())
