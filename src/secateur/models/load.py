"""Load a model file as it is, or as an older Keras wrote it, running no code that it carries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from secateur.errors import ModelError
from secateur.models import files
from secateur.models.code import check_code, layer_names
from secateur.models.hard_sigmoid import keep_hard_sigmoids
from secateur.models.legacy import mend
from secateur.models.limits import check_built, check_file

_ENDINGS = (".keras", ".h5", ".hdf5")


def load_model(
    path: str | Path,
    *,
    weights: str | Path | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Load a model file in safe mode, without its optimizer.

    Args:
        path: a `.keras` archive, an HDF5 file, or an architecture in JSON; told by what the file
            holds, whatever its name.
        weights: the file with the weights, where `path` holds none; else the file of the same
            stem beside it.
        custom_objects: classes and functions of the user's own, by the name in the file; the
            function of a Lambda layer by the layer's name.

    Returns:
        The model, not compiled. `load_model_with_notes` says what was mended as well.

    Raises:
        ModelError: there is no such file, it is not a model, or stock Keras cannot load it.
    """
    return load_model_with_notes(path, weights=weights, custom_objects=custom_objects)[0]


def load_model_with_notes(
    path: str | Path,
    *,
    weights: str | Path | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> tuple[keras.Model, tuple[str, ...]]:
    """Load a model file and say what was mended because an older Keras wrote it.

    Args:
        path: as for `load_model`.
        weights: likewise.
        custom_objects: likewise.

    Returns:
        The model, and a line for each kind of mend, none for a file of this Keras. The file is
        never changed.

    Raises:
        ModelError: as for `load_model`.
    """
    path, given = Path(path), None if weights is None else Path(weights)
    for each in filter(None, (path, given)):
        _check_file(each)
    try:
        return _load(path, given, dict(custom_objects or {}))
    except ModelError:
        raise
    except Exception as error:
        raise _explain(path, error) from error


def _load(
    path: Path, weights: Path | None, own: dict[str, Any]
) -> tuple[keras.Model, tuple[str, ...]]:
    for each in filter(None, (path, weights)):
        check_file(each, files.kind_of(each))
    stored, notes = files.read_stored(path), []
    if stored.config is None:
        architecture = _other(path, "json")
        notes.append(f"architecture from {architecture.name}")
        if weights is None:
            weights = path
        stored, path = files.read_stored(architecture), architecture
    elif stored.kind == "json" and weights is None:
        weights = _other(path, "hdf5")
        check_file(weights, files.kind_of(weights))
        notes.append(f"weights from {weights.name}")
    assert stored.config is not None
    _check_origin(stored, path)
    config = check_code(stored.config, own, path)
    config, mended = mend(config, known=layer_names(), own=own, older=stored.older)
    check_built(config, own, weights or path)
    if stored.kind == "keras" and not mended and config == stored.config:
        with files.named(path, ".keras") as named:
            model = keras.models.load_model(
                named, custom_objects=own, compile=False, safe_mode=True
            )
        model = _as_model(model, path)
        if weights is not None:
            _read_weights(model, weights)
    else:
        if stored.assets:
            raise ModelError(
                "the archive was written by an older Keras and holds vocabularies, which are not "
                "carried over.",
                where=path,
                mend="Load it with the Keras that wrote it and save the model without the layers "
                "that look words up.",
            )
        model = keras.saving.deserialize_keras_object(config, custom_objects=own, safe_mode=True)
        model = _as_model(model, path)
        _check_built(model, path)
        _read_weights(model, weights or path)
    if stored.older:
        mended = (*mended, *keep_hard_sigmoids(model))
    if mended:
        writer = f"Keras {stored.version}" if stored.version else "an older Keras"
        notes.append(f"written by {writer}; on loading, {'; '.join(mended)}")
    return model, tuple(f"{path.name}: {note}" for note in notes)


def _other(path: Path, kind: files.Kind) -> Path:
    """Find the one file beside this one that completes it."""
    found = files.beside(path, kind)
    if len(found) == 1:
        return found[0]
    missing = "the weights" if kind == "hdf5" else "the model that they belong to"
    what = "an architecture alone" if kind == "hdf5" else "weights alone"
    names = ", ".join(each.name for each in found)
    tell = f"and {names} all look like {missing}" if found else f"without {missing}"
    raise ModelError(
        f"the file holds {what}, {tell}.",
        where=path,
        mend="In Python, give them: secateur.load(path, weights='weights.h5'), or name the file "
        f"{path.stem}.h5 beside it."
        if kind == "hdf5"
        else "Build the model in Python, call load_weights, and save it as .keras; or put its "
        f"architecture, {path.stem}.json, beside it.",
    )


def _read_weights(model: keras.Model, weights: Path) -> None:
    try:
        with files.named(weights, files.weights_ending(weights)) as named:
            model.load_weights(named)
    except ModelError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"the weights do not fit the model: {_shorten(said) or type(error).__name__}",
            where=weights,
            mend="Give the weights that were saved with this architecture.",
        ) from error


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ModelError("there is no such model file.", where=path, mend=_mend_path(path))
    if path.is_dir():
        saved = (path / "saved_model.pb").exists()
        raise ModelError(
            "a model is one file; this is a folder"
            + (", a SavedModel, which Keras 3 does not load." if saved else "."),
            where=path,
            mend="Load it with the TensorFlow that wrote it and save it as .keras or .h5."
            if saved
            else "Save the model with `model.save('model.keras')` and give that file.",
        )
    if path.stat().st_size == 0:
        raise ModelError("the model file is empty.", where=path, mend="Save the model again.")


def _check_origin(stored: files.Stored, path: Path) -> None:
    """Refuse files whose weights would load without a word and mean something else."""
    if stored.version.split(".")[0] in ("0", "1"):
        raise ModelError(
            f"the file was written by Keras {stored.version}, which laid out weights otherwise.",
            where=path,
            mend="Load it with Keras 2 and save it again.",
        )
    if stored.backend in ("theano", "cntk"):
        raise ModelError(
            f"the file was written with the {stored.backend} backend, whose convolutions run the "
            "other way round.",
            where=path,
            mend="Load it with Keras 2 and the TensorFlow backend, and save it again.",
        )


def _as_model(model: Any, path: Path) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"the file holds a {type(model).__name__}, not a model.",
            where=path,
            mend="Save a keras.Model.",
        )
    return model


def _check_built(model: keras.Model, path: Path) -> None:
    if model.built:
        return
    unbuilt = next((layer.name for layer in model.layers if not layer.built), model.name)
    raise ModelError(
        f"the model does not say the shape of its input, so layer {unbuilt!r} is not built and "
        "has no weights.",
        where=path,
        mend="Build it in Python, beginning with keras.Input(shape), call load_weights, and save "
        "it as .keras.",
    )


def _mend_path(path: Path) -> str:
    others = sorted(each.name for each in path.parent.glob("*") if each.suffix.lower() in _ENDINGS)
    if not others:
        return "Check the path."
    return f"The folder has {', '.join(others[:5])}{' and more' if len(others) > 5 else ''}."


def _explain(path: Path, error: Exception) -> ModelError:
    """Turn what Keras said into one line and the mend that fits it."""
    said = " ".join(str(error).split())
    if "Lambda" in said:
        return ModelError(
            "the model holds a Lambda layer: Python code, which is not run from a file.",
            where=path,
            mend="Write the Lambda as a layer class, or with keras.ops, and save the model again.",
        )
    if any(each in said for each in ("Could not locate", "Unknown layer", "custom_objects")):
        return ModelError(
            f"the model needs a class that Keras does not have: {_shorten(said)}",
            where=path,
            mend="In Python, give it: secateur.load(path, custom_objects={'Name': Class}).",
        )
    if "Could not interpret" in said or "Unknown activation" in said:
        return ModelError(
            f"the model needs a function that Keras does not have: {_shorten(said)}",
            where=path,
            mend="In Python, give it: secateur.load(path, custom_objects={'name': function}).",
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
