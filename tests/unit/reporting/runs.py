"""Records of runs that look like real ones: figures that agree with each other, from a seed."""

from __future__ import annotations

from secateur.reporting.record import (
    Curve,
    DataSummary,
    GroupCut,
    Guess,
    LatencyView,
    LayerWidth,
    MetricsView,
    Node,
    RobustnessView,
    Run,
    Sample,
    Sensitivity,
    Stage,
    Tried,
)
from unit.reporting.figures import (
    calibrated,
    judged,
    latencies,
    learning,
    network,
    pictures,
    robust,
    slices,
    wired,
)

ENVIRONMENT = {
    "Python": "3.11.9",
    "Keras": "3.15.0 (TensorFlow 2.21.0)",
    "ONNX Runtime": "1.32.0",
    "Processor": "x86-64, 2 cores",
    "System": "Linux",
}
CURVE = {"units": 4, "whole": 0.25, "removed": (1, 2), "cut": (0.4, 0.9), "healed": (0.26, None)}
RECIPE = """name: gestures
data:
  source: sign_digits
  target: class
  image_size: [64, 64]
  split: [0.6, 0.2, 0.2]
train: {epochs: 30, patience: 6, augment: {rotate: 0.05}}
steps:
  - prune: {macs: 0.5, by: taylor}
  - finetune: {epochs: 15}
export: {format: onnx}
measure: {batches: [1, 32], threads: 1}
seed: 0
"""


def classification(classes: int = 10, layers: int = 14, images: list[str] | None = None) -> Run:
    """A whole run on photos: halved, healed, fine-tuned, exported."""
    names = tuple(str(number) for number in range(classes))
    if classes > 20:
        names = tuple(f"species {number:03d}" for number in range(classes))
    rows = max(413, classes * 30)
    widths, groups = network(layers)
    base, final = judged(names, rows, 0.915, 1), judged(names, rows, 0.911, 2)
    small = {"parameters": 23_514, "macs": 4_910_000, "bytes": 94_056}
    images = pictures(12) if images is None else images
    return Run(
        name="gestures",
        created="2026-11-02T09:30:00+00:00",
        secateur="0.1.0",
        source="sign_digits",
        asked={
            "Multiply-accumulates": "at most half of the baseline's",
            "Criterion": "Taylor, over all groups together, widths in multiples of 8",
            "Afterwards": "heal, then fine-tune for up to 15 epochs",
            "Runtime": "ONNX Runtime, 1 thread, batches of 1 and 32",
        },
        data=DataSummary(
            kind="image folder",
            source="sign_digits",
            rows={"train": 1237, "validation": 412, "test": rows},
            classes=names,
            target="class",
            inputs={"image": "64 × 64 × 3, uint8; stretched to size, bilinear"},
            notes=("3 of 2,062 photos are 3024 × 3024; the others are 100 × 100.",),
        ),
        stages=(
            Stage(
                name="baseline",
                metrics=base,
                parameters=97_442,
                macs=11_300_000,
                bytes=389_768,
                file_bytes=398_112,
                latencies=latencies(0.612, 15.9),
                seconds=341.0,
            ),
            Stage(
                name="cut", title="Cut", metrics=judged(names, rows, 0.31, 3), seconds=4.1, **small
            ),
            Stage(
                name="healed",
                metrics=judged(names, rows, 0.846, 4),
                seconds=6.3,
                **small,
                note="statistics re-estimated, readers re-solved on 512 samples",
            ),
            Stage(name="fine-tuned", metrics=final, seconds=118.0, **small),
            Stage(
                name="exported",
                metrics=final,
                latencies=latencies(0.268, 6.02),
                seconds=9.2,
                file_bytes=101_874,
                **small,
            ),
        ),
        layers=widths,
        network=wired(widths),
        robustness=robust(names),
        tried=tuple(
            Tried(cost="macs", share=share, value=value, chosen=share == 0.44)
            for share, value in (
                (0.5, 0.915),
                (0.25, 0.86),
                (0.38, 0.9),
                (0.44, 0.911),
                (0.1, None),
            )
        ),
        groups=groups,
        notes=(
            "Pruned 7 of 14 groups; the others join the residual stream.",
            "Batch-normalisation statistics re-estimated on 1,237 samples.",
            "Keras and ONNX Runtime agree to 3.1e-06 on 64 samples.",
        ),
        sensitivity=tuple(Sensitivity(group=each.name, **CURVE) for each in groups[:3]),
        curves=(learning("baseline", 26, 0.25, 0.93), learning("fine-tuned", 12, 0.85, 0.915)),
        samples=tuple(
            Sample(
                title=f"{number}/IMG_{4100 + 17 * number}.JPG",
                truth=names[number % classes],
                before=Guess(label=names[number % classes], probability=0.98),
                after=Guess(label=names[(number + (number % 5 == 3)) % classes], probability=0.8),
                image=image,
            )
            for number, image in enumerate(images)
        ),
        environment=ENVIRONMENT,
        recipe=RECIPE,
        command="secateur run gestures.yaml",
        seconds=492.0,
    )


def regression() -> Run:
    """A table with a value to predict, and rows without pictures."""
    small = {"parameters": 9_100, "macs": 8_900, "bytes": 36_400}
    large = {"parameters": 21_400, "macs": 20_900, "bytes": 85_600}

    def stage(name: str, mae: float, r2: float, **more) -> Stage:
        off = MetricsView(task="regression", rows=65_469, mae=mae, rmse=mae * 1.7, r2=r2)
        return Stage(name=name, metrics=off, **more)

    layers = (
        ("dense", 128, 56, 8_832, 3_864),
        ("dense_1", 96, 48, 12_384, 2_736),
        ("output", 1, 1, 97, 49),
    )
    names = ("layer", "before", "after", "parameters_before", "parameters_after")
    loss = {"loss": (900.0, 500.0, None, 350.0), "val_loss": (700.0, 450.0, 400.0, 420.0)}
    fields = ("month", "day", "dep_time", "carrier", "origin", "dest", "distance", "hour", "wind")
    return Run(
        name="flights",
        created="2026-11-02T14:05:00+00:00",
        secateur="0.1.0",
        asked={"Parameters": "at most half of the baseline's", "Criterion": "L2, layer by layer"},
        data=DataSummary(
            kind="table",
            source="flights.csv",
            rows={"train": 196_408, "validation": 65_469, "test": 65_469},
            target="arr_delay",
            inputs={"numeric": "18, float32", "categorical": "3, int32"},
            notes=("9,430 rows without a target left out.",),
        ),
        stages=(
            stage(
                "baseline", 11.62, 0.8731, latencies=latencies(0.031, 0.142), seconds=88, **large
            ),
            stage("cut", 19.8, 0.6214, **small),
            stage("fine-tuned", 11.75, 0.8702, seconds=40, **small),
            stage("exported", 11.75, 0.8702, latencies=latencies(0.029, 0.091), **small),
        ),
        layers=tuple(
            LayerWidth(kind="Dense", **dict(zip(names, layer, strict=True))) for layer in layers
        ),
        groups=tuple(
            GroupCut(
                name=name,
                kind="neurons",
                members=(name,),
                units=before,
                removed=before - after,
                why="least L2 norm",
            )
            for name, before, after, *_ in layers[:2]
        ),
        robustness=RobustnessView(
            margin=5.0,
            groups={"carrier": slices(("UA", "AA", "DL"), 11.6, 11.7, flagged="AA", rows=9000)},
            conditions=slices(("As they are", "1 value in 10 missing"), 11.6, 11.7, rows=1024),
        ),
        curves=(Curve(stage="baseline", metrics=loss),),
        samples=tuple(
            Sample(
                title=f"row {1000 + number}",
                truth=f"{12.0 - 9 * number}",
                before=Guess(label=f"{11.2 - 9 * number:.1f}"),
                after=Guess(label=f"{10.7 - 9 * number:.1f}"),
                fields={name: str((number + 3) * (place + 7)) for place, name in enumerate(fields)},
            )
            for number in range(6)
        ),
        environment=ENVIRONMENT,
        recipe="name: flights\n",
        command="secateur run flights.yaml",
        seconds=171.0,
    )


def troubled() -> Run:
    """A run that broke off: warnings, near chance, slower, stages without figures."""
    names = ("no", "yes")
    return Run(
        name="churn",
        created="not a time",
        secateur="0.1.0",
        warnings=(
            "The training stopped after 2 epochs: the loss is not a number.",
            "Column tenure: 31 % of the values are missing.",
        ),
        stages=(
            Stage(
                name="baseline",
                metrics=judged(names, 200, 0.5, 8),
                parameters=400,
                macs=900,
                latencies=latencies(0.011, 0.02),
            ),
            Stage(name="cut", parameters=300, macs=500),
            Stage(
                name="exported",
                metrics=judged(names, 200, 0.49, 9),
                latencies=latencies(0.012, 0.03),
            ),
        ),
        groups=(
            GroupCut(name="dense", kind="neurons", units=8, removed=0, why="the output's classes"),
        ),
        curves=(Curve(stage="baseline", metrics={"loss": (0.9, None), "val_loss": (None, None)}),),
    )


def hostile(text: str) -> Run:
    """A run in which every string is `text`."""
    guess = Guess(label=text, probability=0.5)
    return Run(
        name=text,
        created=text,
        secateur=text,
        source=text,
        asked={text: text},
        data=DataSummary(
            kind=text,
            source=text,
            rows={text: 3},
            classes=(text, text + "b"),
            target=text,
            inputs={text: text},
            notes=(text,),
        ),
        stages=tuple(
            Stage(
                name=name,
                title=text,
                note=text,
                parameters=5,
                macs=7,
                bytes=9 + place,
                metrics=MetricsView(
                    task="classification",
                    rows=4,
                    accuracy=0.5,
                    confusion=((1, 1), (1, 1)),
                    per_class={text: 0.5},
                ),
                latencies=(LatencyView(runtime=text, batch=1, median_ms=1.0 + place),),
            )
            for place, name in enumerate(("baseline", text))
        ),
        layers=(LayerWidth(layer=text, kind=text, before=4, after=2),),
        groups=(
            GroupCut(name=text, kind=text, members=(text,) * 6, units=4, removed=2, why=text),
            GroupCut(name=text, kind=text, members=(text,), units=4, removed=0, why=text),
        ),
        network=(
            Node(name=text, kind=text, before=4, after=2),
            Node(name=text + "b", kind=text, before=4, after=4, inputs=(text,), merges=True),
        ),
        tried=tuple(Tried(cost=text, share=0.5, value=value) for value in (0.5, 0.6)),
        robustness=RobustnessView(
            margin=5.0,
            classes=slices((text,), 0.5, 0.4, flagged=text),
            groups={text: slices((text,), 0.5, 0.4, flagged=text)},
            conditions=slices((text,), 0.5, 0.4, flagged=text),
            calibration=(calibrated(0.1), calibrated(0.2)),
        ),
        notes=(text,),
        warnings=(text,),
        sensitivity=(Sensitivity(group=text, **CURVE),),
        curves=(Curve(stage=text, metrics={text: (1.0, 2.0), "val_" + text: (1.0, 2.0)}),),
        samples=(
            Sample(
                title=text,
                truth=text,
                before=guess,
                after=guess,
                fields={text + str(n): text for n in range(9)},
            ),
        ),
        environment={text: text},
        recipe=text,
        command=text,
        seconds=1.0,
    )
