"""Opening a model with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from secateur.errors import ArtifactError, MissingExtraError

if TYPE_CHECKING:
    import onnxruntime


def open_session(
    path: str | Path | bytes, *, threads: int = 1, where: str | None = None
) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU with `threads` threads, of a file or its bytes.

    Of bytes, `where` is what an error names.
    """
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
            where=where if isinstance(path, bytes) else path,
            mend="Export the model again.",
        ) from error
