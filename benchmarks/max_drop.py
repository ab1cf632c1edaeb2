"""The smallest model within a drop of quality, with everything that was tried.

    secateur run examples/gestures.yaml --data sign_digits --out runs/gestures
    python benchmarks/max_drop.py --model runs/gestures/baseline.keras --data sign_digits

Healed and not trained; the last line judges on test rows, which the search does not see.
"""

import argparse
from pathlib import Path

from secateur import load, read
from secateur.evaluation.evaluate import evaluate
from secateur.job.memory import keep_memory
from secateur.models.fits import image_size
from secateur.steps.prune import Prune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a classifier of photos")
    parser.add_argument("--data", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--max-drop", type=float, default=1.0, help="points that may be lost")
    parser.add_argument("--trials", type=int, default=7)
    parser.add_argument("--round-to", type=int, default=16)
    parser.add_argument("--no-sensitivity", action="store_true")
    options = parser.parse_args()
    keep_memory()
    model = load(options.model)
    fits = image_size(model)
    if fits is None:
        raise SystemExit("The model does not take one photo of a fixed size.")
    height, width, mode = fits
    data = read(options.data, image_size=(height, width), mode=mode)
    step = Prune(
        max_drop=options.max_drop,
        by="taylor",
        round_to=options.round_to,
        trials=options.trials,
        sensitivity=False if options.no_sensitivity else None,
    )
    result = step(model, data)
    print("| MACs asked for | validation | points lost | |\n|---:|---:|---:|---|")
    for each in result.tried:
        value = each.why if each.value is None else f"{each.value:.1%} | {each.drop:.2f}"
        print(f"| {each.share:.1%} | {value} | {'chosen' if each.chosen else ''} |")
    macs, size = (
        getattr(result.after, name) / getattr(result.before, name) for name in ("macs", "bytes")
    )
    whole, left = (evaluate(each, data.test).accuracy for each in (model, result.model))
    print(f"{macs:.1%} of the MACs, {size:.0%} of the bytes; test {whole:.1%} -> {left:.1%}")


if __name__ == "__main__":
    main()
