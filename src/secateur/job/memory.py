"""The memory of a process that trains, kept from one step to the next."""

from __future__ import annotations

import ctypes
import os
import sys

# M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's mallopt.
_MALLOC = ((-1, 2**31 - 1), (-2, 2**28), (-3, 2**25))


def keep_memory() -> None:
    """Have glibc keep freed memory: a training step takes and frees the same large arrays again.

    What is given back to the system is fetched anew at each step, a page fault for each page. This
    is for processes of secateur's own: a library does not set it for its user's process.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    if os.environ.get("KERAS_BACKEND") == "tensorflow":
        _start_a_generator()
    for option, value in _MALLOC:
        mallopt(option, value)


def _start_a_generator() -> None:
    """Begin a generator of batches: TensorFlow tells glibc the contrary as the first one begins."""
    import tensorflow as tf

    of_one = tf.TensorSpec((), tf.int32)
    for _ in tf.data.Dataset.from_generator(lambda: iter([0]), output_signature=of_one):
        pass
