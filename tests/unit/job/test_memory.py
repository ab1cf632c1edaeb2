"""Memory that a training step freed is there for the next one."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import sys

import numpy as np

from secateur.job.memory import keep_memory

import tensorflow as tf

if sys.argv[1] == "kept":
    keep_memory()
for _ in tf.data.Dataset.from_generator(
    lambda: iter([0]), output_signature=tf.TensorSpec((), tf.int32)
):
    pass
# Arrays of a size that the heap holds, all of it freed at the end of each step.
for _ in range(3):
    np.ones(2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Return how many pages were fetched anew while arrays of 8 MiB came and went."""
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # A page of 2 MiB, where one is to be had, is one fault in place of 512.
        "NUMPY_MADVISE_HUGEPAGE": "0",
    }
    command = [sys.executable, "-c", SCRIPT, how]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone is told")
def test_a_generator_of_batches_does_not_undo_it():
    assert faults("left") > 4096
    assert faults("kept") < 1024
