"""A Keras model as a LiteRT (TensorFlow Lite) file, at any batch size."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.errors import MissingExtraError, ModelError, OutputError
from secateur.files import new_file
from secateur.formats.quiet import quiet

if TYPE_CHECKING:
    import keras


def to_litert(model: keras.Model, path: str | Path, *, integers: bool = False) -> None:
    """Write `model` for LiteRT to `path`, quietly, as `model.export` of Keras does.

    Args:
        model: a built model; its first axis is free in the file.
        path: the file to write; it is replaced if it exists.
        integers: let the converter store large weights in eight bits.

    Raises:
        ModelError: LiteRT has no operation for a part of the model.
        MissingExtraError: TensorFlow is not installed.
        OutputError: the file cannot be written.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"LiteRT files are written from the TensorFlow backend, and Keras runs on "
            f"{keras.backend.backend()}.",
            mend="Set KERAS_BACKEND=tensorflow and load the model again.",
        )
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.tflite"
        try:
            with quiet():
                import tensorflow as tf

                options = {"optimizations": [tf.lite.Optimize.DEFAULT]} if integers else {}
                model.export(str(written), format="litert", verbose=False, **options)
        except ImportError as error:
            raise MissingExtraError(
                f"the package {error.name} is not installed.",
                mend="Run `pip install 'secateur[tensorflow]'`.",
            ) from error
        except Exception as error:
            # The converter has errors of many kinds, few of them public.
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise ModelError(
                f"model {model.name!r} cannot be written for LiteRT: {said}",
                mend="Use ONNX Runtime or OpenVINO, or build the part it names from other layers.",
            ) from error
        content = written.read_bytes()
        if foreign := _foreign(content):
            raise ModelError(
                f"LiteRT has no operations of its own for a part of model {model.name!r}: "
                f"{', '.join(foreign[:4])}. Recurrent layers are such a part.",
                mend="Use ONNX Runtime or OpenVINO, or build that part from other layers.",
            )
        try:
            with new_file(path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise OutputError(
                f"the model cannot be written ({error.strerror}).",
                where=path,
                mend="Choose a folder that exists and has room.",
            ) from error


def _foreign(content: bytes) -> list[str]:
    """Return the operations of TensorFlow that the file calls for, which a plain LiteRT lacks."""
    found = re.finditer(rb"(.{4})Flex(\w+)\x00", content, flags=re.DOTALL)
    return sorted(
        {
            each[2].decode()
            for each in found
            # A string is stored after its length; weights that look like a name are not.
            if int.from_bytes(each[1], "little") == len(each[2]) + len("Flex")
        }
    )
