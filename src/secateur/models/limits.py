"""What a model file may ask of memory and of the disk, looked at before Keras builds anything.

A file of a few bytes can say that it holds terabytes: a zip that bursts, an HDF5 shape with
nothing behind it, a layer of a billion units. And HDF5 can name other files to read from. All of
that is refused here; what is left needs a small multiple of the file's own size.
"""

from __future__ import annotations

import copy
import math
import random
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from secateur.errors import ModelError
from secateur.formats.store import plain_name
from secateur.models import probe
from secateur.models.files import Kind
from secateur.models.probe import FLOOR, MOST_GROWTH

# By the clock; the process may use far less of the processor.
PROBE_SECONDS = 120
# float16 in the file and float64 in the model is 4; the rest is room for what is not saved.
MOST_BUILT = 16
MOST_MEMBERS = 10_000

_WEIGHTS = "model.weights.h5"
_PENDING = "uninitialized_variables"
_MEND = "Do not load this file, unless you trust who made it and they save it again."


def check_file(path: Path, kind: Kind) -> None:
    """Refuse a model file that would grow as it is read, or reads from other files.

    Raises:
        ModelError: says what is in the file that no Keras writes.
    """
    if kind == "hdf5":
        _probe(path)
    elif kind == "keras":
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path)
            if _WEIGHTS in archive.namelist():
                # Here the zip's checksum vouches that nothing was damaged.
                with archive.open(_WEIGHTS) as stream:
                    what = probe.look(stream)
                if what:
                    raise _refused(what, path)


def check_built(config: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> None:
    """Refuse an architecture whose weights would be far larger than the file.

    The model is built without making its weights; where that does not work, nothing is said, and
    building it in earnest tells why.

    Raises:
        ModelError: the weights would take more than `MOST_BUILT` times the file, and more than
            `FLOOR` bytes.
    """
    from keras.src.backend.common import global_state

    drawn = random.getstate()
    # Keras keeps a list of variables without values and would make them at the next occasion.
    pending = list(global_state.get_global_attribute(_PENDING) or ())
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
        global_state.set_global_attribute(_PENDING, pending)
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


def _probe(path: Path) -> None:
    """Look through an HDF5 file in another process, which ends if the library never does."""
    command = [sys.executable, "-P", "-m", "secateur.models.probe", str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _damaged(path) from error
    if done.returncode == probe.REFUSED:
        raise _refused(done.stdout.strip(), path)
    if done.returncode:
        raise _damaged(path)


def _damaged(path: Path) -> ModelError:
    return ModelError(
        "the HDF5 file is damaged: it cannot be read to its end.",
        where=path,
        mend="Copy it again, or save the model again with `model.save('model.keras')`.",
    )


def _refused(what: str, path: Path) -> ModelError:
    return ModelError(f"{what}; Keras writes no such file.", where=path, mend=_MEND)
