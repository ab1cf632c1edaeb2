"""The runtimes that models run on: each opens a file and runs it on the CPU.

A runner takes a mapping from input name to array and gives the outputs. What a runtime does once
for a shape (choosing kernels, laying out memory) it does at the first call of that shape.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from secateur.errors import ArtifactError, MissingExtraError, ModelError
from secateur.formats.sessions import open_session

RUNTIMES = ("onnxruntime", "openvino", "litert")
TITLE = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
# The package, its module, and what installs it.
_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime", "onnxruntime"),
    "openvino": ("openvino", "openvino", "'secateur[openvino]'"),
    "litert": ("ai-edge-litert", "ai_edge_litert.interpreter", "'secateur[litert]'"),
}


@dataclass(frozen=True)
class Input:
    """An input of an opened model: its name, its shape (`None` where it is free), NumPy's type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Runner(Protocol):
    """A model that a runtime has opened."""

    inputs: tuple[Input, ...]

    def run(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs for arrays by input name."""
        ...


def check_runtime(runtime: str) -> None:
    """Refuse a runtime that is not known or not installed.

    Raises:
        ModelError: there is no such runtime.
        MissingExtraError: it is not installed; the extra that installs it is named.
    """
    if runtime not in RUNTIMES:
        raise ModelError(
            f"there is no runtime {runtime!r}.", where="runtime", mend=f"Use {', '.join(RUNTIMES)}."
        )
    _module(runtime)


def version_of(runtime: str) -> str:
    """Return the version of an installed runtime."""
    return metadata.version(_PACKAGES[runtime][0])


def open_runner(path: str | Path | bytes, runtime: str = "onnxruntime", threads: int = 1) -> Runner:
    """Open a model on the CPU.

    Args:
        path: an ONNX file for `onnxruntime` and `openvino`, a TFLite file for `litert`, or what
            such a file holds.
        runtime: one of `RUNTIMES`.
        threads: the threads that one call may use.

    Raises:
        ModelError: there is no such runtime.
        MissingExtraError: the runtime is not installed.
        ArtifactError: the runtime cannot open the model.
    """
    check_runtime(runtime)
    opened: dict[str, Callable[..., Runner]] = {
        "onnxruntime": _OnnxRuntime,
        "openvino": _OpenVino,
        "litert": _LiteRT,
    }
    if runtime == "onnxruntime":
        return opened[runtime](path, threads)
    try:
        return opened[runtime](path, threads)
    except Exception as error:
        # Neither runtime has public kinds of errors of its own.
        raise ArtifactError(
            f"{TITLE[runtime]} cannot open the model ({first_line(error)}).",
            where=None if isinstance(path, bytes) else path,
            mend="Export the model again.",
        ) from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, cut to a length that can be read."""
    said = [line for line in str(error).splitlines() if line.strip()]
    return said[0].strip()[:200] if said else type(error).__name__


class _OnnxRuntime:
    """A session of ONNX Runtime."""

    def __init__(self, path: str | Path | bytes, threads: int):
        self._session = open_session(path, threads=threads)
        types = {"tensor(float)": "float32", "tensor(double)": "float64"}
        self.inputs = tuple(
            Input(
                i.name,
                tuple(n if isinstance(n, int) else None for n in i.shape),
                types.get(str(i.type), str(i.type).removeprefix("tensor(").removesuffix(")")),
            )
            for i in self._session.get_inputs()
        )

    def run(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(each) for each in self._session.run(None, dict(feed))]


class _OpenVino:
    """A model of OpenVINO, compiled for the shapes of its latest feed.

    It computes in float32, as the exported file says: on processors with bfloat16 units OpenVINO
    would else compute in that, and give other answers than the file that was checked.
    """

    def __init__(self, path: str | Path | bytes, threads: int):
        openvino = _module("openvino")
        self._core: Any = openvino.Core()
        self._model: Any = self._core.read_model(path)
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self.inputs = tuple(
            Input(
                i.any_name,
                tuple(n.get_length() if n.is_static else None for n in i.partial_shape),
                i.element_type.to_dtype().name,
            )
            for i in self._model.inputs
        )
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._request: Any = None

    def run(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = {name: x.shape for name, x in feed.items()}
        if shapes != self._shapes:
            self._model.reshape({name: list(shape) for name, shape in shapes.items()})
            compiled = self._core.compile_model(self._model, "CPU", self._options)
            self._request, self._shapes = compiled.create_infer_request(), shapes
        found = self._request.infer(dict(feed), share_inputs=True)
        return [np.asarray(each) for each in found.values()]


class _LiteRT:
    """An interpreter of LiteRT, with the memory for the shapes of its latest feed."""

    def __init__(self, path: str | Path | bytes, threads: int):
        source = {"model_content": path} if isinstance(path, bytes) else {"model_path": str(path)}
        self._interpreter = _module("litert").Interpreter(**source, num_threads=threads)
        details = self._interpreter.get_input_details()
        self._places = {each["name"]: each["index"] for each in details}
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]
        self.inputs = tuple(
            Input(
                each["name"],
                tuple(int(n) if n > 0 else None for n in each["shape_signature"]),
                str(np.dtype(each["dtype"])),
            )
            for each in details
        )
        self._shapes: dict[str, tuple[int, ...]] | None = None

    def run(self, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        shapes = {name: x.shape for name, x in feed.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._places[name], shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, x in feed.items():
            self._interpreter.set_tensor(self._places[name], x)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _module(runtime: str) -> Any:
    package, module, installs = _PACKAGES[runtime]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"the package {package} is not installed, and {TITLE[runtime]} is in it.",
            where="runtime",
            mend=f"Run `pip install {installs}`.",
        ) from error
