"""An exported model that answers in one language, whatever its last layer is.

A classification is always one probability a class, `(rows, classes)`, and a regression one value a
row, `(rows, 1)`: a softmax passes through, logits are normalised, one sigmoid unit becomes two
columns. NumPy and a runtime only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.errors import ArtifactError, DataError, ModelError
from secateur.formats.artifact import LITERT, MODEL, Artifact, Manifest, TensorSpec
from secateur.formats.limits import check_onnx
from secateur.formats.runners import TITLE, Input, first_line, open_runner
from secateur.formats.sessions import open_session

if TYPE_CHECKING:
    import onnxruntime

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class Predictor:
    """Runs an artifact's model; one instance may be used by several threads at once."""

    def __init__(
        self,
        artifact: Artifact | str | Path,
        threads: int = 1,
        *,
        runtime: str = "onnxruntime",
        rows: int = 1,
    ):
        """Open the model.

        Args:
            artifact: an artifact, or the folder of one, which is then checked.
            threads: how many cores one call of `predict` may use.
            runtime: "onnxruntime", "openvino", or "litert" where the artifact has a file for it.
            rows: the usual number of rows of a call, for which other runtimes than ONNX Runtime are
                made ready; fewer rows take them as long.

        Raises:
            ModelError: there is no such runtime.
            MissingExtraError: the runtime is not installed.
            ArtifactError: the artifact is not whole, or the runtime cannot open the model.
        """
        self.artifact = artifact if isinstance(artifact, Artifact) else Artifact.open(artifact)
        self.runtime, self.rows = runtime, rows
        content = model_bytes(self.artifact, runtime)
        if runtime == "onnxruntime":
            where = self.artifact.files.where(MODEL)
            session = open_session(content, threads=threads, where=where)
            self._run: Run = partial(_run, session, self.manifest.outputs[0].name)
        else:
            self._run = OneForEach(content, runtime, threads, rows)

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
            return self._run(feed)
        except Exception as error:
            raise ModelError(
                f"{TITLE[self.runtime]} cannot run the model ({first_line(error)}).",
                where=self.artifact.files.where(MODEL),
                mend="Export the model again, with a sample of its data.",
            ) from error


def _run(
    session: onnxruntime.InferenceSession, output: str, feed: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Run a session that all threads share, as only ONNX Runtime allows."""
    return np.asarray(session.run([output], dict(feed))[0])


class OneForEach:
    """A runner for each thread, opened when the thread first asks.

    Such a runner is made for one number of rows; fewer rows are filled up with rows of zeros.
    """

    def __init__(self, model: Path | bytes, runtime: str, threads: int, rows: int = 1):
        """Open the first one, so that a model that cannot be opened says so at once."""
        self._open = partial(open_runner, model, runtime, threads)
        self._own = threading.local()
        self._own.runner = self._open()
        self._own.rows = self._rows = rows

    def __call__(self, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's first output for arrays by input name."""
        own = self._own
        if not hasattr(own, "runner"):
            own.runner, own.rows = self._open(), self._rows
        rows = len(next(iter(feed.values())))
        own.rows = max(own.rows, rows)
        named = _named(own.runner.inputs, feed)
        filled = {name: _filled(array, own.rows) for name, array in named.items()}
        # What the runner gives may be memory that its next call writes to.
        return np.array(own.runner.run(filled)[0][:rows])


def model_bytes(artifact: Artifact, runtime: str) -> bytes:
    """Return what a runtime opens of an artifact: the very bytes that were checked.

    Raises:
        ArtifactError: there is no such file, or it is not what it should be.
    """
    if runtime != "litert":
        content = artifact.read(MODEL)
        check_onnx(content, artifact.files.where(MODEL))
        return content
    if not any(entry.path == LITERT for entry in artifact.manifest.files):
        raise ArtifactError(
            f"the artifact holds no {LITERT}, which LiteRT needs.",
            where=artifact.path,
            mend="Export the model with `litert=True`, or use another runtime.",
        )
    return artifact.read(LITERT)


def _named(inputs: tuple[Input, ...], feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a feed under the names of a runner, which LiteRT makes of the model's names."""
    if len(inputs) == len(feed) == 1:
        return {inputs[0].name: next(iter(feed.values()))}
    found = {}
    for each in inputs:
        own = each.name.removeprefix("serving_default_").rpartition(":")[0] or each.name
        name = each.name if each.name in feed else own
        if name not in feed:
            raise ModelError(f"the runtime's input {each.name!r} is none of {', '.join(feed)}.")
        found[each.name] = feed[name]
    return found


def _filled(array: np.ndarray, rows: int) -> np.ndarray:
    if len(array) == rows:
        return array
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


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
