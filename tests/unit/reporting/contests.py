"""Records of comparisons as a job would write them."""

from secateur.reporting.comparison import Comparison, Entrant, Timing, Trial, Written
from secateur.reporting.record import DataSummary, MetricsView

RUNTIMES = ("onnxruntime", "openvino")


def file(runtime, accuracy, size, left, task="classification") -> Written:
    quality = {"accuracy": accuracy} if task == "classification" else {"r2": accuracy, "mae": 1.0}
    return Written(
        runtime=runtime,
        file=f"{runtime}.onnx",
        bytes=size,
        metrics=MetricsView(task=task, rows=100, **quality),
        memory=size * 10,
        timings=tuple(
            Timing(batch=batch, threads=1, median_ms=left * batch, left=left) for batch in (1, 32)
        ),
    )


def trial(seed, accuracy, size, left, **more) -> Trial:
    task = more.pop("task", "classification")
    return Trial(
        seed=seed,
        folder=f"seed-{seed}",
        parameters=size // 4,
        macs=size * 100,
        written=tuple(file(runtime, accuracy, size, left, task) for runtime in RUNTIMES),
        epochs=10,
        seconds=61.0,
        **more,
    )


def contest(name="gestures", task="classification") -> Comparison:
    """Return a comparison: one on the front, one that is beaten, one half failed, one failed."""
    bad = Trial(seed=0, folder="seed-0", failure="keep: the pattern 'x' matches no layer.")
    return Comparison(
        name=name,
        created="2026-11-02T09:30:00+00:00",
        secateur="0.1.0",
        asked={"Seeds": "0, 1"},
        data=DataSummary(kind="image", rows={"train": 6, "validation": 2, "test": 2}),
        runtimes=RUNTIMES,
        batches=(1, 32),
        memory_batch=32,
        baseline=Entrant(name="baseline", trials=(trial(0, 0.95, 100_000, 1.0, task=task),)),
        entrants=(
            Entrant(
                name="taylor",
                steps="prune (macs 0.5)",
                trials=(
                    trial(0, 0.94, 50_000, 0.5, task=task, notes=("prune: half is gone",)),
                    trial(1, 0.96, 50_000, 0.5, task=task),
                ),
            ),
            Entrant(name="beaten", trials=(trial(0, 0.90, 60_000, 0.6, task=task),)),
            Entrant(
                name="half",
                trials=(trial(0, 0.80, 20_000, 0.2, task=task), bad.model_copy(update={"seed": 1})),
            ),
            Entrant(name="broken", trials=(bad,)),
        ),
        warnings=("The baseline is near chance.",),
        environment={"Processor": "one"},
        recipe="name: gestures\n",
        command="secateur compare gestures.yaml",
        seconds=600.0,
    )
