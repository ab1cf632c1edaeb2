"""What a run did, as the values that its record holds."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from secateur.evaluation.metrics import Metrics, predicted
from secateur.machine import cores
from secateur.reporting import record
from secateur.reporting.images import data_uri

if TYPE_CHECKING:
    import keras

    from secateur.cost.cost import Cost, Latency
    from secateur.data.dataset import Dataset, Split
    from secateur.planning.plan import Plan
    from secateur.planning.sensitivity import Sensitivity
    from secateur.recipe.recipe import Recipe
    from secateur.steps.result import Result

SAMPLES = 24
_BUDGETS = {
    "macs": ("Multiply-accumulates", "at most {:.0%} of the baseline's"),
    "params": ("Parameters", "at most {:.0%} of the baseline's"),
    "bytes": ("Stored bytes", "at most {:.0%} of the baseline's"),
    "latency": ("Latency", "at most {:.0%} of the baseline's"),
    "ratio": ("Units", "{:.0%} of them removed"),
    "max_drop": ("Quality", "at most {:g} points below the baseline's on the validation rows"),
}


def stage(
    name: str,
    title: str,
    *,
    metrics: Metrics | None,
    cost: Cost | None,
    seconds: float | None = None,
    file_bytes: int | None = None,
    latencies: Iterable[Latency] = (),
    note: str = "",
) -> record.Stage:
    """Return a stage of the record."""
    return record.Stage(
        name=name,
        title=title,
        metrics=None if metrics is None else view(metrics),
        parameters=cost.parameters if cost else None,
        macs=cost.macs if cost else None,
        bytes=cost.bytes if cost else None,
        file_bytes=file_bytes,
        latencies=latency_views(latencies),
        seconds=seconds,
        note=note,
    )


def latency_views(taken: Iterable[Latency]) -> tuple[record.LatencyView, ...]:
    """Return measured times as the record holds them."""
    return tuple(record.LatencyView(**_known(record.LatencyView, each)) for each in taken)


def view(metrics: Metrics) -> record.MetricsView:
    """Return metrics as the record holds them."""
    return record.MetricsView(**_known(record.MetricsView, metrics))


def _known(view: type[BaseModel], value: BaseModel) -> dict[str, Any]:
    """Return the fields of a value that a view of the record has."""
    return value.model_dump(include=set(view.model_fields))


def summary(data: Dataset) -> record.DataSummary:
    """Return what a run learned from."""
    contract = data.contract
    return record.DataSummary(
        kind=contract.kind,
        source=data.source,
        rows={each.name: each.rows for each in (data.train, data.validation, data.test)},
        classes=contract.classes,
        target=contract.target.name if contract.target else None,
        inputs={
            name: f"{' x '.join(map(str, shape))}, {dtype}"
            for name, (shape, dtype) in contract.inputs().items()
        },
        notes=data.notes,
    )


def layers(before: keras.Model, after: keras.Model) -> tuple[record.LayerWidth, ...]:
    """Return how wide each layer was and is."""
    from secateur.graph.trace import trace

    old, new = trace(before), trace(after)
    widths, left = old.widths(old.everything()), new.widths(new.everything())
    had, has = _parameters(old), _parameters(new)
    kinds = {call.path: type(call.operation).__name__ for call in old.calls}
    return tuple(
        record.LayerWidth(
            layer=path,
            kind=kinds.get(path, ""),
            before=width,
            after=left[path][0] if path in left else 0,
            parameters_before=had.get(path),
            parameters_after=has.get(path, 0),
        )
        for path, (width, _) in widths.items()
    )


def network(before: keras.Model, after: keras.Model) -> tuple[record.Node, ...]:
    """Return how the layers that make units are wired, and how wide each was and is."""
    from secateur.graph.trace import trace

    old, new = trace(before), trace(after)
    widths = old.widths(old.everything())
    left = {call.path: new.tensors[call.outputs[0]].shape for call in new.calls}
    kept = new.widths(new.everything())
    found: dict[str, record.Node] = {}
    # For each tensor the nodes that it comes from, with nothing that changes its width between.
    sources: dict[int, tuple[str, ...]] = {}
    for call in old.calls:
        read = tuple(dict.fromkeys(name for t in call.inputs for name in sources.get(t, ())))
        makes = call.path in widths
        meets = not makes and len(read) > 1
        if (makes or meets) and call.path not in found:
            shape = old.tensors[call.outputs[0]].shape
            now = left.get(call.path, (0,))[-1] if meets else kept.get(call.path, (0, 0))[0]
            found[call.path] = record.Node(
                name=call.path,
                kind=type(call.operation).__name__,
                before=shape[-1] if meets else widths[call.path][0],
                after=now,
                inputs=read,
                merges=meets,
            )
        made = (call.path,) if makes or meets else read
        sources |= dict.fromkeys(call.outputs, made)
    return tuple(found.values())


def tried(result: Result, step: Any) -> list[dict[str, Any]]:
    """Return the budgets that a step tried, as the record holds them."""
    cost = getattr(step, "smallest", "macs")
    return [
        record.Tried(cost=cost, share=each.share, value=each.value, chosen=each.chosen).model_dump()
        for each in result.tried
    ]


def groups(model: keras.Model, plans: Sequence[Plan]) -> tuple[record.GroupCut, ...]:
    """Return what every group of the baseline gave, and what held those that gave nothing."""
    from secateur.graph.trace import trace

    graph = trace(model)
    kinds = {call.path: type(call.operation).__name__ for call in graph.calls}
    gone: dict[str, int] = {}
    why: dict[str, str] = {}
    for plan in plans:
        for cut in plan.cuts:
            gone[cut.group] = gone.get(cut.group, 0) + len(cut.remove)
            why[cut.group] = cut.reason
    found = []
    for group in (*graph.groups, *graph.fixed):
        held = "; ".join(group.pins[:3]) or "no unit of it was worth removing"
        found.append(
            record.GroupCut(
                name=group.name,
                kind=kinds.get(group.members[0], ""),
                members=group.members,
                units=len(group),
                removed=gone.get(group.name, 0),
                why=why.get(group.name, held),
            )
        )
    return tuple(found)


def sensitivity(curves: Iterable[Sensitivity]) -> list[dict[str, Any]]:
    """Return what was measured of each group, as the record holds it."""
    known = set(record.Sensitivity.model_fields)
    return [{k: v for k, v in dataclasses.asdict(each).items() if k in known} for each in curves]


def samples(
    split: Split, before: np.ndarray, after: np.ndarray, truth: np.ndarray, *, seed: int
) -> tuple[record.Sample, ...]:
    """Return some test rows with their truth and what the two models said.

    Half of them are rows on which a model was wrong, as far as there are any.

    Args:
        split: the rows.
        before: what the baseline gives for all of them.
        after: what the result gives.
        truth: what is true of them.
        seed: decides which are shown.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(truth))
    contract = split.contract
    if contract.task == "classification":
        wrong = (predicted(before) != truth) | (predicted(after) != truth)
    else:
        error = np.abs(after.reshape(-1) - truth)
        wrong = error >= np.sort(error)[-max(1, SAMPLES // 2)]
    bad = order[wrong[order]][: SAMPLES // 2]
    good = order[~wrong[order]][: SAMPLES - len(bad)]
    rows = draw.permutation(np.concatenate([bad, good]))
    told = split.rows_as_dicts(rows) if contract.kind != "array" else [{} for _ in rows]
    return tuple(
        record.Sample(
            title=str(raw.get("file", f"row {row}")),
            truth=_label(truth[row], contract.classes),
            before=_guess(before[row], contract.classes),
            after=_guess(after[row], contract.classes),
            image=_picture(split, int(row)) if contract.kind == "image" else None,
            fields=None if contract.kind == "image" else {k: _text(v) for k, v in raw.items()},
        )
        for row, raw in zip(rows, told, strict=True)
    )


def asked(recipe: Recipe) -> dict[str, str]:
    """Return what was asked, in words."""
    told = {}
    for entry in recipe.steps:
        for name, arguments in entry.items():
            for key, value in (arguments or {}).items():
                if name == "prune" and key in _BUDGETS:
                    title, words = _BUDGETS[key]
                    told[title] = words.format(float(value))
    if recipe.steps:
        told["Steps"] = ", ".join(name for entry in recipe.steps for name in entry)
    return told


def environment() -> dict[str, str]:
    """Return what the figures were taken on."""
    import keras

    backend = keras.backend.backend()
    package = {"tensorflow": ("tensorflow", "tensorflow-cpu")}.get(backend, (backend,))
    version = next((found for name in package if (found := _version(name))), "")
    return {
        "Python": platform.python_version(),
        "Keras": f"{keras.__version__} ({backend} {version})".replace(" )", ")"),
        "ONNX Runtime": _version("onnxruntime") or "none",
        "Processor": f"{_processor()}, {cores()} cores",
        "System": f"{platform.system()} {platform.machine()}",
    }


def _parameters(graph: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key, size in graph.sizes(graph.everything()).items():
        path = key.rpartition("/")[0]
        counts[path] = counts.get(path, 0) + size
    return counts


def _label(value: Any, classes: Sequence[str]) -> str:
    return classes[int(value)] if classes else f"{float(value):.4g}"


def _guess(output: np.ndarray, classes: Sequence[str]) -> record.Guess:
    output = np.asarray(output).reshape(-1)
    if not classes:
        return record.Guess(label=f"{float(output[0]):.4g}")
    if len(output) == 1:
        output = np.array([1 - output[0], output[0]])
    best = int(output.argmax())
    return record.Guess(label=classes[best], probability=float(output[best]))


def _picture(split: Split, row: int) -> str:
    pixels = split.raw(row)
    assert isinstance(pixels, np.ndarray)
    return data_uri(pixels, longest=112)


def _text(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        text = str(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as told:
            for line in told:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
