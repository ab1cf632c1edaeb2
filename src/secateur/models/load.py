"""Load a model file as it is, running no code that the file carries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from secateur.errors import ModelError

_ENDINGS = (".keras", ".h5", ".hdf5")


def load_model(path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> keras.Model:
    """Load a `.keras`, `.h5` or `.hdf5` file in safe mode, without its optimizer.

    Args:
        path: the file.
        custom_objects: classes and functions of the user's own, by the name in the file.

    Returns:
        The model, not compiled.

    Raises:
        ModelError: there is no such file, it is not a model, or stock Keras cannot load it.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError("there is no such model file.", where=path, mend=_mend_path(path))
    if path.is_dir() or path.suffix.lower() not in _ENDINGS:
        kind = "a folder" if path.is_dir() else f"a {path.suffix or 'file without an ending'}"
        raise ModelError(
            f"a model is a file that ends in {', '.join(_ENDINGS)}; this is {kind}.",
            where=path,
            mend="Save the model with `model.save('model.keras')` and give that file.",
        )
    if path.stat().st_size == 0:
        raise ModelError("the model file is empty.", where=path, mend="Save the model again.")
    try:
        model = keras.models.load_model(
            path, custom_objects=dict(custom_objects or {}), compile=False, safe_mode=True
        )
    except Exception as error:
        raise _explain(path, error) from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"the file holds a {type(model).__name__}, not a model.",
            where=path,
            mend="Save a keras.Model.",
        )
    return model


def _mend_path(path: Path) -> str:
    others = sorted(each.name for each in path.parent.glob("*") if each.suffix.lower() in _ENDINGS)
    if not others:
        return "Check the path."
    return f"The folder has {', '.join(others[:5])}{' and more' if len(others) > 5 else ''}."


def _explain(path: Path, error: Exception) -> ModelError:
    """Turn what Keras said into one line and the mend that fits it."""
    said = " ".join(str(error).split())
    if "safe_mode" in said or "Lambda" in said:
        return ModelError(
            "the model holds a Lambda layer: Python code, which is not run from a file.",
            where=path,
            mend="Write the Lambda as a layer class, or with keras.ops, and save the model again.",
        )
    if "No model config found" in said:
        return ModelError(
            "the file holds weights alone, without the model that they belong to.",
            where=path,
            mend="Build the model in Python, call load_weights, and save it as .keras.",
        )
    if "Could not locate class" in said or "Unknown layer" in said or "custom_objects" in said:
        return ModelError(
            f"the model needs a class that Keras does not have: {_shorten(said)}",
            where=path,
            mend="In Python, give it: load(path, custom_objects={'Name': Class}).",
        )
    if "Unrecognized keyword arguments" in said or "keyword argument" in said:
        return ModelError(
            f"the file was written by another Keras than the one here ({keras.__version__}): "
            f"{_shorten(said)}",
            where=path,
            mend="Load it with the Keras that wrote it and save it as .keras from Keras 3.",
        )
    return ModelError(
        f"the file cannot be loaded as a model: {_shorten(said) or type(error).__name__}",
        where=path,
        mend="It may be cut off or not a Keras file; save the model again.",
    )


def _shorten(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."
