"""Every wiring of tests/zoo, on every law that holds for a model: `benchmarks/zoo.py --small`.

All models are checked in one process, and all cut models are loaded again by stock Keras in one
other, in which secateur cannot be imported.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMNS = ("parameters", "groups", "MACs left", "cut = mask", "ONNX", "reloads", "all laws")
TOLERANCE = 1e-4
ONNX_TOLERANCE = 1e-3
TESTS = Path(__file__).parents[1] / "tests"

RELOAD = """
import json, sys
sys.modules["secateur"] = None
import keras, numpy as np
folder, own, tests = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
same = {}
for name in sorted(json.loads(sys.argv[4]), key=lambda name: name in own):
    if name in own and "own_layers" not in sys.modules:
        sys.path.append(tests)
        import own_layers
    try:
        model = keras.models.load_model(f"{folder}/{name}.keras", safe_mode=True)
        data = np.load(f"{folder}/{name}.npz")
        x = [data[f"x{k}"] for k in range(len(model.inputs))]
        found = model(x if len(x) > 1 else x[0], training=False)
        found = found if isinstance(found, list) else [found]
        pairs = [(np.asarray(y), data[f"y{k}"]) for k, y in enumerate(found)]
        same[name] = all(np.abs(a - b).max() <= 1e-5 * np.abs(b).max() for a, b in pairs)
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr)
        same[name] = False
print(json.dumps({name: bool(value) for name, value in same.items()}))
"""


@dataclass
class Row:
    """What was found of one wiring; `broken` names the laws that it breaks."""

    name: str
    parameters: int = 0
    groups: int = 0
    left: float = 1.0
    wanted: bool = True
    difference: float | None = None
    onnx: str = ""
    reloads: bool = False
    broken: list[str] = field(default_factory=list)

    def shown(self) -> str:
        """Return the row in Markdown."""
        cells = (
            f"{self.parameters:,}",
            str(self.groups),
            f"{self.left:.1%}" + ("" if self.wanted else " (the least there is)"),
            "normalises across" if self.difference is None else f"{self.difference:.0e}",
            self.onnx,
            "yes" if self.reloads else "NO",
            "hold" if not self.broken else f"BROKEN: {', '.join(self.broken)}",
        )
        return f"| {self.name} | {' | '.join(cells)} |"


def apart(found: list, wanted: list) -> float:
    """Return the largest difference, relative to the largest value of each output."""
    import numpy as np

    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-9)) for a, b in pairs)


def halved(graph: Any, **options: Any) -> Any:
    """Plan for half of the multiply-adds, or for the least that the pins and the floor leave."""
    from secateur.errors import BudgetError
    from secateur.graph.observe import observe
    from secateur.planning.plan import plan

    for percent in range(50, 100):
        try:
            return plan(graph, observe(graph), macs=percent / 100, by="l2", round_to=1, **options)
        except BudgetError:
            continue
    return None


def check(name: str, folder: Path) -> Row:
    """Try every law on one wiring, and leave the cut model in a folder to be loaded again."""
    import keras
    import numpy as np

    from secateur.errors import PlanError
    from secateur.graph.trace import trace
    from secateur.planning.plan import Plan
    from secateur.steps.cutting import cut
    from secateur.steps.masks import mask
    from zoo import inputs_of, mixing_groups, model_of, outputs

    model = model_of(name)
    x = inputs_of(model)
    weights = [np.array(weight) for weight in model.weights]
    config = keras.saving.serialize_keras_object(model)
    graph = trace(model)
    made = halved(graph)
    smaller = cut(model, made)
    found = outputs(smaller, x)
    row = Row(name, graph.parameters(), len(graph.groups))
    row.left = trace(smaller).macs() / graph.macs()
    row.wanted = row.left <= 0.5

    def law(holds: bool, said: str) -> None:
        if not holds:
            row.broken.append(said)

    mixing = mixing_groups(graph)
    still = {m for group in graph.groups if group.name in mixing for m in group.members}
    compared = halved(graph, keep=sorted(still)) if still else made
    if compared is not None:
        pair = found if compared is made else outputs(cut(model, compared), x)
        row.difference = apart(pair, outputs(mask(model, compared), x))
        law(row.difference < TOLERANCE, "cut = mask")
    law(any(np.abs(value).max() > 0 for value in found), "not all zero")
    law(trace(smaller).macs() == made.after["macs"], "costs as planned")
    law(trace(smaller).parameters() == smaller.count_params(), "parameters as counted")
    whole = outputs(model, x)
    law(apart(outputs(cut(model, Plan.empty(graph)), x), whole) <= 1e-6, "empty plan")
    law(Plan.from_json(made.to_json()) == made, "plan in JSON")
    again = halved(trace(model_of(name)))
    law([c.remove for c in again.cuts] == [c.remove for c in made.cuts], "same plan again")
    try:
        cut(model_of("dense" if name != "dense" else "vgg"), made)
        row.broken.append("foreign plan refused")
    except PlanError:
        pass
    pairs = zip(weights, model.weights, strict=True)
    law(all(np.array_equal(old, np.array(new)) for old, new in pairs), "input untouched")
    law(keras.saving.serialize_keras_object(model) == config, "config untouched")

    smaller.save(folder / f"{name}.keras")
    arrays = x if isinstance(x, list) else [x]
    named = {f"x{k}": v for k, v in enumerate(arrays)} | {f"y{k}": v for k, v in enumerate(found)}
    np.savez(folder / f"{name}.npz", **named)
    row.onnx = exported(smaller, arrays, found, folder / "model.onnx")
    law(not row.onnx.startswith("DIFFERS"), "ONNX")
    return row


def exported(model: Any, x: list, found: list, path: Path) -> str:
    """Compare a model with itself in ONNX Runtime; say why where there is no such file."""
    import onnxruntime

    from secateur.errors import SecateurError
    from secateur.formats.onnx import to_onnx

    try:
        to_onnx(model, path)
    except SecateurError as error:
        said = str(error).split(": ")[-1].split(". ")[0].replace("|", "/")
        return f"none: {said[:70]} has no counterpart" if len(said) < 30 else f"none: {said[:90]}"
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        given = dict(zip([tensor.name for tensor in model.inputs], x, strict=True))
        answers = session.run(None, {each: given[each] for each in names})
    except Exception as error:
        # ONNX Runtime has no kinds of errors of its own that are public.
        return "none: ONNX Runtime: " + str(error).splitlines()[0].replace("|", "/")[:60]
    difference = apart(answers, found)
    return f"{difference:.0e}" if difference < ONNX_TOLERANCE else f"DIFFERS {difference:.0e}"


def reloaded(names: list[str], own: set[str], folder: Path) -> dict[str, bool]:
    """Load all cut models with stock Keras, those with classes of one's own last."""
    given = [str(folder), json.dumps(sorted(own)), str(TESTS), json.dumps(names)]
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, *given], capture_output=True, text=True, check=False
    )
    last = done.stdout.strip().splitlines()
    if not last:
        raise SystemExit(done.stderr)
    return json.loads(last[-1])


def main(chosen: list[str]) -> int:
    """Print the table; return how many wirings are not green."""
    # This folder has a `zoo` as well, the script that calls this.
    sys.path.insert(0, str(TESTS))
    from zoo import CLASSES_OF_ONES_OWN, ZOO

    names = chosen or sorted(ZOO)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in names:
            try:
                rows.append(check(name, folder))
            except Exception as error:
                # One wiring that fails must not hide the others.
                said = str(error).splitlines()[0].replace("|", "/")[:100]
                rows.append(Row(name, broken=[f"{type(error).__name__}: {said}"]))
        saved = [row.name for row in rows if (folder / f"{row.name}.keras").exists()]
        same = reloaded(saved, set(CLASSES_OF_ONES_OWN), folder)
    print(f"| wiring | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for row in rows:
        row.reloads = same.get(row.name, False)
        print(row.shown())
    green = sum(row.reloads and not row.broken for row in rows)
    print(f"\n{green} of {len(rows)} green")
    return len(rows) - green


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
