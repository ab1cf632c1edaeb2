"""An exported model that answers in one language, whatever its last layer is.

A classification is always one probability a class, `(rows, classes)`, and a regression one value a
row, `(rows, 1)`: a softmax passes through, logits are normalised, one sigmoid unit becomes two
columns. NumPy and ONNX Runtime only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.errors import ArtifactError, DataError, MissingExtraError, ModelError
from secateur.formats.artifact import Artifact, Manifest, TensorSpec

if TYPE_CHECKING:
    import onnxruntime


class Predictor:
    """Runs an artifact's model; one instance may be used by several threads at once."""

    def __init__(self, artifact: Artifact | str | Path, threads: int = 1):
        """Open the model.

        Args:
            artifact: an artifact, or the folder of one, which is then checked.
            threads: how many cores one call of `predict` may use.
        """
        self.artifact = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
        self._session = open_session(self.artifact.model_path, threads=threads)

    @property
    def manifest(self) -> Manifest:
        """What the artifact says of itself."""
        return self.artifact.manifest

    def predict(self, x: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Return probabilities `(rows, classes)`, values `(rows, 1)` or features, as float32.

        Args:
            x: the model's input as `encode` makes it, or a mapping from input name to array.

        Raises:
            DataError: an input is missing, or has a shape or type that the model does not take.
            ModelError: the runtime fails.
        """
        return as_answer(self.raw(x), self.manifest.output)

    def raw(self, x: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's output as it leaves its last layer."""
        feed = feed_for(self.manifest.inputs, x)
        output = self.manifest.outputs[0]
        if not len(next(iter(feed.values()))):
            return np.zeros((0, *(axis or 1 for axis in output.shape[1:])), output.dtype)
        try:
            return np.asarray(self._session.run([output.name], feed)[0])
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime cannot run the model ({str(error).splitlines()[0]}).",
                where=self.artifact.model_path,
                mend="Export the model again, with a sample of its data.",
            ) from error


def open_session(path: str | Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU with `threads` threads, of a file or its bytes."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "the package onnxruntime is not installed.", mend="Run `pip install onnxruntime`."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A thread that spins while it waits takes the core from the thread that decodes the next rows.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            path if isinstance(path, bytes) else str(path),
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        raise ArtifactError(
            f"ONNX Runtime cannot open the model ({str(error).splitlines()[0]}).",
            where=None if isinstance(path, bytes) else path,
            mend="Export the model again.",
        ) from error


def feed_for(
    inputs: tuple[TensorSpec, ...], x: np.ndarray | Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return `x` by input name, in the types that the model takes."""
    if isinstance(x, Mapping):
        if len(x) == len(inputs) == 1:
            x = next(iter(x.values()))
        elif missing := [spec.name for spec in inputs if spec.name not in x]:
            raise DataError(
                f"the model's input {missing[0]!r} is missing; received {', '.join(map(str, x))}."
            )
    elif len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs)
        raise DataError(f"the model has {len(inputs)} inputs ({names}) and received one array.")
    return {
        spec.name: _checked(spec, np.asarray(x[spec.name] if isinstance(x, Mapping) else x))
        for spec in inputs
    }


def _checked(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    fits = array.ndim == len(spec.shape) and all(
        axis is None or axis == length for axis, length in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("rows" if i == 0 else str(a) for i, a in enumerate(spec.shape))
        raise DataError(
            f"the model's input {spec.name!r} takes ({wanted}) and received {array.shape}."
        )
    if not np.can_cast(array.dtype, spec.dtype, "same_kind"):
        raise DataError(
            f"the model's input {spec.name!r} takes {spec.dtype} and received {array.dtype}."
        )
    return np.ascontiguousarray(array, dtype=spec.dtype)


def as_answer(raw: np.ndarray, output: str) -> np.ndarray:
    """Return raw outputs as probabilities `(rows, classes)` or values `(rows, 1)`, float32.

    Args:
        raw: the model's output, `(rows, units)`.
        output: the manifest's word for it: "probabilities", "logits", "value" or "features".
    """
    units = int(np.prod(raw.shape[1:]))
    values = raw.reshape(len(raw), units).astype(np.float32, copy=False)
    if output in ("value", "features"):
        return values
    if output == "logits":
        values = _sigmoid(values) if values.shape[1] == 1 else _softmax(values)
    return np.concatenate([1 - values, values], axis=1) if values.shape[1] == 1 else values


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # exp of a large positive number overflows; exp of minus its size never does.
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)
