"""Budgets of latency: asked for a share of the measured latency, what a measurement then says.

    python benchmarks/latency.py                                   # both models, two runtimes
    python benchmarks/latency.py --runtimes litert --batch 8 --threads 2 --share 0.6

MobileNetV2 (96x96) and a ResNet-20 (32x32), with random weights: a latency does not depend on
them. Once the tool is done the ratio is measured anew: the model and the cut model, as exported,
called in turn for some seconds.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def mobilenet():
    import keras

    return keras.applications.MobileNetV2((96, 96, 3), weights=None, name="mobilenetv2")


def resnet20():
    import keras
    from keras import layers

    def conv(x, width, stride=1, kernel=3):
        x = layers.Conv2D(width, kernel, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    x = i = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(x, 16))
    for width in (16, 32, 64):
        for number in range(3):
            stride = 2 if number == 0 and width > 16 else 1
            y = conv(layers.ReLU()(conv(x, width, stride)), width)
            short = x if stride == 1 else conv(x, width, stride, kernel=1)
            x = layers.ReLU()(layers.Add()([short, y]))
    x = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(i, x, name="resnet20")


MODELS = {"MobileNetV2": mobilenet, "ResNet-20": resnet20}


def row(name: str, runtime: str, args: argparse.Namespace) -> str:
    from secateur.cost.race import race, ratio
    from secateur.cost.runtimes import TITLE, version_of, write_for
    from secateur.graph.observe import observe
    from secateur.graph.trace import trace
    from secateur.steps.cutting import cut
    from secateur.steps.timed import plan_for_latency

    model = MODELS[name]()
    start = time.perf_counter()
    graph = trace(model)
    timed = plan_for_latency(
        graph,
        observe(graph),
        args.share,
        runtime,
        args.batch,
        args.threads,
        cache=args.cache,
        by=args.by,
    )
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as home:
        paths = {}
        for label, each in (("whole", model), ("cut", cut(model, timed.plan))):
            folder = Path(home) / label
            folder.mkdir()
            paths[label] = write_for(each, runtime, folder)
        times = race(
            paths,
            batch=args.batch,
            threads=args.threads,
            seconds=args.seconds,
            runtime=runtime,
            openings=8,
        )
    before, after = times["whole"], times["cut"]
    medians = after.median_ms / before.median_ms
    macs = timed.plan.after["macs"] / timed.plan.before["macs"]
    return (
        f"| {name} | {TITLE[runtime]} {version_of(runtime).split('-')[0]} | {args.share:.3f} | "
        f"{timed.ratio:.3f} | {ratio(before, after):.3f} | {medians:.3f} | "
        f"{before.median_ms:.2f} -> {after.median_ms:.2f} | {macs:.1%} | "
        f"{timed.corrections} | {seconds:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("--share", type=float, default=0.5, help="of the measured latency")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--by", default="l2", help="the criterion")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the run that is shown")
    parser.add_argument("--cache", type=Path, help="where samples are kept")
    args = parser.parse_args()
    print(
        f"Batch {args.batch}, {args.threads} thread{'s' if args.threads > 1 else ''}.\n\n"
        "| model | runtime | asked | as the tool measured | measured anew | by medians | ms | "
        "MACs left | corrections | seconds |\n|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in args.models:
        for runtime in args.runtimes:
            print(row(name, runtime, args), flush=True)


if __name__ == "__main__":
    main()
