"""Save a model so that its file is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    import keras


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Save a model as `.keras`; the folders above it are made, a file that is there is replaced.

    Raises what Keras and the system raise; what stood at `path` is then left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Keras goes by the ending, so that what is not whole yet has it too.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with quiet():
            model.save(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
