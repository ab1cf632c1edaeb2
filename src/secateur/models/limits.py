"""What a model file may ask of memory and of the disk, looked at before Keras builds anything.

A file of a few bytes can say that it holds terabytes: a zip that bursts, an HDF5 shape with
nothing behind it, a layer of a billion units. And HDF5 can name other files to read from. All of
that is refused here; what is left needs a small multiple of the file's own size.
"""

from __future__ import annotations

import copy
import math
import random
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import keras

from secateur.errors import ModelError
from secateur.formats.store import plain_name
from secateur.models.files import Kind

# Below this nothing is refused for its size, whatever the size of its file.
FLOOR = 256 * 2**20
# Weights that compress more than this many times are not weights.
MOST_GROWTH = 100
# float16 in the file and float64 in the model is 4; the rest is room for what is not saved.
MOST_BUILT = 16
MOST_MEMBERS = 10_000
MOST_OBJECTS = 200_000

_WEIGHTS = "model.weights.h5"
_MEND = "Do not load this file, unless you trust who made it and they save it again."


def check_file(path: Path, kind: Kind) -> None:
    """Refuse a model file that would grow as it is read, or reads from other files.

    Raises:
        ModelError: says what is in the file that no Keras writes.
    """
    if kind == "hdf5":
        _check_hdf5(path, path)
    elif kind == "keras":
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            if _WEIGHTS in archive.namelist():
                with archive.open(_WEIGHTS) as stream:
                    _check_hdf5(stream, path)


def check_built(config: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> None:
    """Refuse an architecture whose weights would be far larger than the file.

    The model is built without making its weights; where that does not work, nothing is said, and
    building it in earnest tells why.

    Raises:
        ModelError: the weights would take more than `MOST_BUILT` times the file, and more than
            `FLOOR` bytes.
    """
    drawn = random.getstate()
    try:
        # Layers draw seeds as they are made, and these are never used.
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(
                copy.deepcopy(dict(config)), custom_objects=dict(own), safe_mode=True
            )
            needed = sum(_bytes(each) for each in getattr(model, "variables", ()))
    except Exception:
        return
    finally:
        random.setstate(drawn)
    if needed > max(FLOOR, MOST_BUILT * path.stat().st_size):
        raise ModelError(
            f"the model's weights would take {needed:,} bytes, and its file has "
            f"{path.stat().st_size:,}.",
            where=path,
            mend=_MEND,
        )


def _bytes(variable: Any) -> int:
    digits = "".join(each for each in str(variable.dtype) if each.isdigit())
    return math.prod(variable.shape) * max(1, int(digits[:2] or 8) // 8)


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise _refused(f"the archive has {len(members):,} members", path)
    seen: set[str] = set()
    for member in members:
        if not plain_name(member.filename.removesuffix("/")):
            raise _refused(f"the archive's member {member.filename!r} is outside of it", path)
        if member.filename in seen:
            raise _refused(f"the archive holds {member.filename!r} twice", path)
        seen.add(member.filename)
        if member.file_size > FLOOR and member.file_size > MOST_GROWTH * member.compress_size:
            raise _refused(
                f"the archive's member {member.filename!r} grows from {member.compress_size:,} to "
                f"{member.file_size:,} bytes",
                path,
            )
    total = sum(member.file_size for member in members)
    if total > max(FLOOR, MOST_GROWTH * path.stat().st_size):
        raise _refused(f"the archive grows to {total:,} bytes", path)
    if "model.weights.npz" in seen:
        raise _refused("the archive keeps its weights as .npz", path)


def _check_hdf5(source: Path | IO[bytes], path: Path) -> None:
    declared = 0
    with h5py.File(source, "r") as file:
        for name, dataset in _datasets(file, path):
            if dataset.external or dataset.is_virtual:
                raise _refused(f"the dataset {name!r} keeps its numbers in other files", path)
            if dataset.dtype.hasobject and h5py.check_string_dtype(dataset.dtype) is None:
                raise _refused(f"the dataset {name!r} holds no numbers", path)
            size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
            declared += size
            stored = dataset.id.get_storage_size()
            if declared > FLOOR and size > MOST_GROWTH * stored:
                raise _refused(
                    f"the dataset {name!r} says that it has {size:,} bytes, and {stored:,} are "
                    "stored",
                    path,
                )


def _datasets(file: h5py.File, path: Path) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset once; links, which can lead in circles or elsewhere, are refused."""
    waiting: list[tuple[str, Any]] = [("", file)]
    seen: set[Any] = set()
    while waiting:
        above, group = waiting.pop()
        for name in group:
            where = f"{above}/{name}"
            if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
                raise _refused(f"{where!r} is a link", path)
            here = group[name]
            address = h5py.h5o.get_info(here.id).addr  # pyright: ignore[reportAttributeAccessIssue]
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise _refused(f"the file holds more than {MOST_OBJECTS:,} objects", path)
            if isinstance(here, h5py.Dataset):
                yield where, here
            elif isinstance(here, h5py.Group):
                waiting.append((where, here))


def _refused(what: str, path: Path) -> ModelError:
    return ModelError(f"{what}; Keras writes no such file.", where=path, mend=_MEND)
