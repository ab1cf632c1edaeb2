"""What a process of its own sets before it uses Keras; what the user has set himself stays."""

from __future__ import annotations

import ctypes
import logging
import os
import sys

_SETTINGS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

# M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt.
_MALLOC = ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**25))


def prepare() -> None:
    """Choose the backend, keep it quiet, and keep the memory that it takes."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    _keep_memory()
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        _import_tensorflow()


def _keep_memory() -> None:
    """Have glibc keep freed memory: a training step takes and frees the same large arrays again.

    Given back to the system each time, they cost as much time in page faults as all the arithmetic.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in _MALLOC:
            mallopt(option, value)


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines that it writes before any level is set."""
    from secateur.formats.quiet import quiet

    with quiet():
        import tensorflow  # noqa: F401
    # A run trains and measures several models, and TensorFlow warns that each is traced anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
