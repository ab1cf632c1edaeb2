"""What a process of its own sets before it uses Keras; what the user has set himself stays."""

from __future__ import annotations

import logging
import os

_SETTINGS = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}


def prepare() -> None:
    """Choose the backend, keep it quiet, and keep the memory that it takes."""
    from secateur.formats.quiet import quiet
    from secateur.job.memory import keep_memory

    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # TensorFlow writes lines of its own before any level is set, and as the first batch comes.
    with quiet():
        if os.environ["KERAS_BACKEND"] == "tensorflow":
            import tensorflow  # noqa: F401
        keep_memory()
    # A run trains and measures several models, and TensorFlow warns that each is traced anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
