"""What must be set before Keras is imported; what the user has set himself stays."""

from __future__ import annotations

import logging
import os

# oneDNN's convolutions are slower than TensorFlow's own on the small batches of small models.
_SETTINGS = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def prepare() -> None:
    """Choose the backend and keep it quiet."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # A run trains and measures several models, and TensorFlow warns that each is traced anew.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
