"""Parts of the records of runs: figures, layers, curves and pictures, each from a seed."""

from __future__ import annotations

import numpy as np

from secateur.reporting.images import data_uri
from secateur.reporting.record import (
    BinView,
    CalibrationView,
    Curve,
    GroupCut,
    LatencyView,
    LayerWidth,
    MetricsView,
    Node,
    RobustnessView,
    SliceView,
)


def judged(classes: tuple[str, ...], rows: int, accuracy: float, seed: int) -> MetricsView:
    """Draw a confusion matrix of about this accuracy and work out the metrics from it."""
    random = np.random.default_rng(seed)
    many = len(classes)
    true = np.arange(rows) % many
    near = (true + random.choice([1, -1, 2, many // 2], rows)) % many
    hard = 1 - (1 - accuracy) * np.linspace(0.2, 1.8, many)
    said = np.where(random.random(rows) < hard[true], true, near)
    counts = np.zeros((many, many), int)
    np.add.at(counts, (true, said), 1)
    found = counts.diagonal()
    recall, precision = found / counts.sum(1), found / np.maximum(counts.sum(0), 1)
    f1 = 2 * recall * precision / np.maximum(recall + precision, 1e-9)
    return MetricsView(
        task="classification",
        rows=rows,
        accuracy=float(found.sum() / rows),
        macro_f1=float(f1.mean()),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        per_class=dict(zip(classes, recall.tolist(), strict=True)),
        chance=float(counts.sum(1).max() / rows),
    )


def latencies(one: float, many: float) -> tuple[LatencyView, ...]:
    return (
        LatencyView(batch=1, median_ms=one, p95_ms=one * 1.13, runs=400),
        LatencyView(batch=32, median_ms=many, p95_ms=many * 1.06, runs=60),
    )


def network(layers: int) -> tuple[tuple[LayerWidth, ...], tuple[GroupCut, ...]]:
    """A chain of convolutions, wider with depth; every second may be cut."""
    widths, groups = [], []
    for place in range(layers):
        before = 16 * 2 ** (place * 4 // layers)
        removed = 0 if place % 2 or place == layers - 1 else before * (3 + place % 5) // 10 // 8 * 8
        parameters = 9 * before * before
        name = f"block{place // 2 + 1}_conv{place % 2 + 1}"
        widths.append(
            LayerWidth(
                layer=name,
                kind="Conv2D",
                before=before,
                after=before - removed,
                parameters_before=parameters,
                parameters_after=parameters * (before - removed) // before,
            )
        )
        why = f"least Taylor score of all groups: 0.{place:03d} to 0.{place + 9:03d}"
        held = "joins the block's input through an addition; all of it scores above the limit"
        groups.append(
            GroupCut(
                name=name,
                kind="channels",
                members=(name, f"{name}_bn") if removed else tuple(f"add{n}" for n in range(6)),
                units=before,
                removed=removed,
                why=why if removed else held,
            )
        )
    last = LayerWidth(
        layer="output",
        kind="Dense",
        before=10,
        after=10,
        parameters_before=1_290,
        parameters_after=1_290,
    )
    return (*widths, last), tuple(groups)


def learning(stage: str, epochs: int, start: float, end: float) -> Curve:
    random = np.random.default_rng(epochs)
    way = 1 - np.exp(-np.linspace(0, 4, epochs))
    accuracy = start + (end - start) * way
    noise = random.normal(0, 0.03, epochs)
    return Curve(
        stage=stage,
        metrics={
            "loss": tuple((2.3 * (1 - accuracy) + 0.05).tolist()),
            "val_loss": tuple((2.5 * (1 - accuracy) + 0.1 + noise).tolist()),
            "accuracy": tuple(np.minimum(1, accuracy + 0.02).tolist()),
            "val_accuracy": tuple((accuracy - np.abs(random.normal(0, 0.012, epochs))).tolist()),
            "learning_rate": (0.001,) * epochs,
        },
    )


def slices(names, before: float, after: float, *, flagged: str = "", rows: int = 41):
    """Draw figures around a mean; the one that is flagged loses nine points."""
    random = np.random.default_rng(len(names))
    made = []
    for name in names:
        was = before * (1 + random.uniform(-0.05, 0.05))
        way = 1 if after > before else -1
        now = was + way * 0.09 * before if name == flagged else was * after / before
        made.append(
            SliceView(
                name=name,
                rows=rows,
                before=was,
                after=now,
                low=now - was - 0.04 * before,
                high=now - was + 0.04 * before,
                flagged=name == flagged,
            )
        )
    return tuple(made)


def calibrated(error: float) -> CalibrationView:
    bins = [
        BinView(rows=20 + 9 * n, confidence=0.1 * n - 0.04, accuracy=max(0.0, 0.1 * n - error))
        for n in range(3, 11)
    ]
    return CalibrationView(error=error, bins=tuple(bins))


def robust(names) -> RobustnessView:
    kinds = (
        "As they are",
        "Noise, 5 % of the range",
        "Blur, 2.5 % of the side",
        "JPEG, quality 10",
    )
    return RobustnessView(
        margin=5.0,
        classes=slices(names, 0.91, 0.9, flagged=names[2] if len(names) > 2 else ""),
        groups={"person": slices(("ada", "bob", "eve"), 0.91, 0.912, rows=137)},
        conditions=slices(kinds, 0.8, 0.78, rows=300),
        calibration=(calibrated(0.05), calibrated(0.03)),
    )


def wired(widths) -> tuple[Node, ...]:
    """A residual block every four layers, as the layers of `network` may be wired."""
    nodes: list[Node] = []
    entered = None
    for place, layer in enumerate(widths):
        inputs = (nodes[-1].name,) if nodes else ()
        node = Node(
            name=layer.layer, kind=layer.kind, before=layer.before, after=layer.after, inputs=inputs
        )
        nodes.append(node)
        if place % 4 == 0:
            entered = node.name
        if place % 4 == 3 and entered:
            nodes.append(
                Node(
                    name=f"add{place}",
                    kind="Add",
                    before=layer.before,
                    after=layer.after,
                    inputs=(node.name, entered),
                    merges=True,
                )
            )
    return tuple(nodes)


def pictures(count: int, side: int = 64) -> list[str]:
    """Soft rings and stripes, each one different."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    made = []
    for number in range(count):
        rings = np.cos(12 * np.hypot(x - 0.03 * number, y) + number)
        stripes = np.sin(9 * (x * np.cos(number) + y * np.sin(number)))
        pixels = np.stack([rings, stripes, rings * stripes], -1) * 90 + 128
        made.append(data_uri(pixels.astype(np.uint8)))
    return made
