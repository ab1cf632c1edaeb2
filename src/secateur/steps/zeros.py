"""What zeros buy: counted in the weights, measured on the saved file and on the clock."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from secateur.cost.race import race, ratio
from secateur.cost.runtimes import TITLE, write_for
from secateur.steps.result import Note

STEP = "sparsify"
BATCH = 32


def counted(kernels: Mapping[str, np.ndarray], parameters: int) -> tuple[Note, ...]:
    """Tell the share of zeros in each kernel, in all of them, and in the model.

    Args:
        kernels: the masked kernels by key, as they are now.
        parameters: the number of all weights of the model.
    """
    zeros = {key: int((array == 0).sum()) for key, array in kernels.items()}
    size = sum(array.size for array in kernels.values())
    total = sum(zeros.values())
    each = tuple(
        Note(STEP, "done", _share(zeros[key], array.size), key) for key, array in kernels.items()
    )
    what = (
        f"{total / size:.1%} of {size:,} weights in {len(kernels)} kernels are zero, "
        f"{total / parameters:.1%} of all parameters"
    )
    return (*each, Note(STEP, "done", what))


def on_disk(dense: keras.Model, sparse: keras.Model) -> Note:
    """Tell how large both models are when saved, as they are and compressed.

    A .keras file is an archive without compression, so zeros cost in it as much as other numbers.
    """
    (before, squeezed), (after, pressed) = _sizes(dense), _sizes(sparse)
    what = (
        f"the .keras file has {after:,} bytes after {before:,}; its weights, compressed (zlib), "
        f"{pressed:,} after {squeezed:,} ({pressed / squeezed:.0%})"
    )
    return Note(STEP, "done", what)


def on_the_clock(
    dense: keras.Model, sparse: keras.Model, runtime: str | None, smaller: keras.Model | None = None
) -> Note:
    """Tell how long a call takes with and without zeros, in turn, where a runtime is named.

    Args:
        dense: the model before.
        sparse: the model with zeros, nothing cut.
        runtime: `onnxruntime`, `openvino` or `litert`, or None to time nothing.
        smaller: the model without its empty units, if any were cut.
    """
    if runtime is None:
        what = "time was not measured; runtimes compute with zeros as with other numbers"
        return Note(STEP, "skipped", f"{what} (runtime='onnxruntime' measures it)")
    models = {"dense": dense, "with zeros": sparse}
    if smaller is not None:
        models["without its empty units"] = smaller
    with TemporaryDirectory() as folder:
        paths = {}
        for number, (name, model) in enumerate(models.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            paths[name] = write_for(model, runtime, place)
        found = race(paths, batch=BATCH, runtime=runtime)
    told = ", ".join(
        f"{each.median_ms:.3g} ms {name}"
        + ("" if name == "dense" else f" ({1 / ratio(found['dense'], each):.2f}x)")
        for name, each in found.items()
    )
    what = f"a call of {TITLE[runtime]} at batch {BATCH} on 1 thread takes {told}"
    return Note(STEP, "done", what)


def _share(zeros: int, size: int) -> str:
    left = f", {size - zeros} left" if zeros > 0.99 * size else ""
    return f"{zeros / size:.1%} of {size:,} weights are zero{left}"


def _sizes(model: keras.Model) -> tuple[int, int]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            weights = archive.read("model.weights.h5")
        return path.stat().st_size, len(zlib.compress(weights))
