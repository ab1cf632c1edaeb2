"""What a model file holds, told by its first bytes and never by its name. Nothing is unpickled.

Of an HDF5 file only text attributes are looked at, of a zip only two JSON members. Every text
that is read is bounded.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py

from secateur.errors import ModelError

# The configs of the largest models of keras.applications take some 2 MB.
LONGEST_CONFIG = 32 * 2**20

Kind = Literal["hdf5", "keras", "json"]

_FOREIGN = (
    (0, b"\x80\x02", "a pickle"),
    (0, b"\x80\x03", "a pickle"),
    (0, b"\x80\x04", "a pickle"),
    (0, b"\x80\x05", "a pickle"),
    (4, b"TFL3", "a TensorFlow Lite file"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
)


@dataclass(frozen=True)
class Stored:
    """What a file says about itself.

    Args:
        kind: how the file is laid out.
        config: the architecture as Keras wrote it; `None` where the file holds weights alone.
        version: the Keras that wrote it, "" where the file does not say.
        backend: the backend that wrote it, "" where the file does not say.
        assets: the file holds vocabularies or the like beside its weights.
    """

    kind: Kind
    config: dict[str, Any] | None
    version: str = ""
    backend: str = ""
    assets: bool = False

    @property
    def older(self) -> bool:
        """Say whether a Keras before 3 wrote the file."""
        if self.version:
            return self.version.split(".")[0] in ("0", "1", "2")
        return self.config is not None and '"module"' not in json.dumps(self.config)


def kind_of(path: Path) -> Kind:
    """Tell a file's kind by its first bytes.

    Raises:
        ModelError: it is none that holds a Keras model.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK\x03\x04"):
        return "keras"
    if h5py.is_hdf5(path):
        return "hdf5"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "json"
    found = next((name for start, mark, name in _FOREIGN if head[start:].startswith(mark)), None)
    raise ModelError(
        f"the file is {found or 'of no known kind'}; a model is a .keras archive, HDF5, or JSON "
        "with its weights beside it.",
        where=path,
        mend="It may be damaged; save the model with `model.save('model.keras')` and give that.",
    )


def read_stored(path: Path) -> Stored:
    """Read the architecture that a file holds, building nothing.

    Raises:
        ModelError: the text is too long, is not JSON, or is no architecture.
    """
    kind = kind_of(path)
    return {"keras": _read_archive, "hdf5": _read_hdf5, "json": _read_json}[kind](path)


def _read_archive(path: Path) -> Stored:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if "config.json" not in names:
            raise ModelError(
                "the zip archive holds no config.json, so it is no Keras model.",
                where=path,
                mend="Save the model with `model.save('model.keras')` and give that file.",
            )
        for name in ("config.json", "metadata.json"):
            if name in names:
                _check_length(archive.getinfo(name).file_size, path)
        config = _parse(archive.read("config.json"), path)
        about = _parse(archive.read("metadata.json"), path) if "metadata.json" in names else {}
    assets = any(name.startswith("assets/") and not name.endswith("/") for name in names)
    return Stored("keras", config, str(about.get("keras_version", "")), assets=assets)


def _read_hdf5(path: Path) -> Stored:
    with h5py.File(path, "r") as file:
        text = _text(file.attrs, "model_config", path)
        version, backend = (
            next(filter(None, (_text(place.attrs, name, path) for place in _places(file))), "")
            for name in ("keras_version", "backend")
        )
    config = None if text is None else _parse(text, path)
    return Stored("hdf5", config, version, backend)


def _places(file: h5py.File) -> list[Any]:
    group = file.get("model_weights")
    return [file, group] if isinstance(group, h5py.Group) else [file]


def _read_json(path: Path) -> Stored:
    _check_length(path.stat().st_size, path)
    config = _parse(path.read_bytes(), path)
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        raise ModelError(
            "the JSON is not the architecture of a model.",
            where=path,
            mend="Write it with `model.to_json()`.",
        )
    version, backend = (str(config.get(name) or "") for name in ("keras_version", "backend"))
    return Stored("json", config, version, backend)


def _text(attributes: Any, name: str, path: Path) -> str | None:
    """Read a text attribute; `None` where there is none."""
    if name not in attributes:
        return None
    kind = attributes.get_id(name).dtype
    if h5py.check_string_dtype(kind) is None or attributes.get_id(name).shape not in ((), (1,)):
        raise ModelError(
            f"the attribute {name!r} is not text, so it is not read.",
            where=path,
            mend="Save the model with `model.save('model.keras')` and give that file.",
        )
    _check_length(attributes.get_id(name).get_storage_size(), path)
    value = attributes[name]
    if not isinstance(value, str | bytes):
        value = value[0]
    _check_length(len(value), path)
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _check_length(length: int, path: Path) -> None:
    if length > LONGEST_CONFIG:
        raise ModelError(
            f"the architecture takes {length:,} bytes; at most {LONGEST_CONFIG:,} are read.",
            where=path,
            mend="Save the model without the data that its config carries.",
        )


def _parse(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"the architecture in the file is not JSON: {error}.",
            where=path,
            mend="The file may be damaged; save the model again.",
        ) from error
    if not isinstance(parsed, dict):
        raise ModelError(
            f"the architecture in the file is a JSON {type(parsed).__name__}, not an object.",
            where=path,
            mend="Write it with `model.to_json()` or `model.save('model.keras')`.",
        )
    return parsed


def beside(path: Path, kind: Kind) -> list[Path]:
    """Find the file that completes this one: same stem, same folder, of the given kind.

    Args:
        path: an architecture without weights, or weights without an architecture.
        kind: "hdf5" for the weights, "json" for the architecture.
    """
    stem = _stem(path)
    endings = (".json",) if kind == "json" else (".h5", ".hdf5", ".weights", ".model", ".keras")
    return [
        each
        for each in sorted(path.parent.iterdir())
        if each != path
        and each.suffix.lower() in endings
        and _stem(each) == stem
        and each.is_file()
        and (each.suffix == ".json" or h5py.is_hdf5(each))
    ]


def _stem(path: Path) -> str:
    stem = path.stem.lower()
    for tail in (".weights", "_weights", "-weights"):
        stem = stem.removesuffix(tail)
    return stem


def weights_ending(path: Path) -> str:
    """Return the ending by which Keras tells how the weights in a file are laid out.

    Raises:
        ModelError: the file holds no weights.
    """
    kind = kind_of(path)
    if kind == "keras":
        return ".keras"
    if kind == "json":
        raise ModelError(
            "the file given for the weights holds text.",
            where=path,
            mend="Give an HDF5 file that `model.save_weights` wrote.",
        )
    with h5py.File(path, "r") as file:
        by_layer = {"layer_names", "layer_names0"} & set(file.attrs)
        return ".h5" if by_layer or "model_weights" in file else ".weights.h5"


@contextmanager
def named(path: Path, ending: str) -> Iterator[Path]:
    """Give a file by a name with the ending that Keras goes by; the file stays as it is."""
    wrong = ending == ".h5" and path.name.endswith(".weights.h5")
    if path.name.endswith(ending) and not wrong:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"model{ending}"
        try:
            link.symlink_to(path.resolve())
        except OSError:
            shutil.copyfile(path, link)
        yield link
