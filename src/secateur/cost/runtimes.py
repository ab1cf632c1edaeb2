"""Timing needs models as files of each runtime, and the name of the machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.formats.int8 import to_onnx_int8
from secateur.formats.litert import to_litert
from secateur.formats.litert_int8 import to_litert_int8
from secateur.formats.onnx import to_onnx
from secateur.formats.runners import (
    RUNTIMES,
    TITLE,
    Input,
    Runner,
    check_runtime,
    first_line,
    open_runner,
    version_of,
)

if TYPE_CHECKING:
    import keras

    from secateur.formats.grids import Quantization

__all__ = [
    "RUNTIMES",
    "SUFFIX",
    "TITLE",
    "Input",
    "Runner",
    "check_runtime",
    "first_line",
    "open_runner",
    "processor",
    "version_of",
    "write_for",
]

SUFFIX = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite"}


def processor() -> str:
    """Return the name of this machine's processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        # A name such as "AMD EPYC" stands for many processors; family and model tell them apart.
        pairs = (line.partition(":") for line in reversed(lines))
        told = {key.strip(): value.strip() for key, _, value in pairs}
    except OSError:
        return platform.processor() or platform.machine()
    keys = ("model name", "cpu family", "model", "stepping")
    return " ".join(told[key] for key in keys if key in told) or platform.machine()


def write_for(
    model: keras.Model, runtime: str, folder: Path, quantization: Quantization | None = None
) -> Path:
    """Write a model in the format that a runtime opens, and return the file.

    Args:
        model: the model.
        runtime: one of `RUNTIMES`.
        folder: where to; the file has the model's name.
        quantization: its grids, to write it in integers.

    Raises:
        ModelError: the model has no counterpart in that format.
        MissingExtraError: the runtime, or what writes its format, is not installed.
    """
    check_runtime(runtime)
    path = folder / f"{model.name}{SUFFIX[runtime]}"
    if quantization is None:
        (to_litert if runtime == "litert" else to_onnx)(model, path)
    else:
        (to_litert_int8 if runtime == "litert" else to_onnx_int8)(model, quantization, path)
    return path
