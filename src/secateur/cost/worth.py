"""Do integers pay? The float32 file and the int8 file, timed in turn on one runtime."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from secateur.cost.race import race, ratio
from secateur.cost.runtimes import TITLE, check_runtime, write_for
from secateur.formats.grids import Quantization

if TYPE_CHECKING:
    import keras

# Integers that save less than this are not worth their rounding.
LEAST = 0.95


@dataclass(frozen=True)
class Worth:
    """What integers save on a runtime.

    Args:
        runtime: the runtime that both files were timed on.
        batch: the rows of one call.
        time: the share of the time that is left.
        size: the share of the bytes that is left.
        saves: what they are for: `time`, or `size` where weights alone are rounded and the runtime
            still computes in float32.
    """

    runtime: str
    batch: int
    time: float
    size: float
    saves: Literal["time", "size"] = "time"

    @property
    def pays(self) -> bool:
        """Whether the int8 file saves what it is for."""
        return getattr(self, self.saves) <= LEAST

    def __str__(self) -> str:
        verdict = "int8 pays" if self.pays else "int8 does not pay, so float32 is kept"
        return (
            f"{TITLE[self.runtime]}, batch {self.batch}: {self.time:.2f} of the time, "
            f"{self.size:.2f} of the bytes: {verdict}"
        )


def worth(
    model: keras.Model,
    quantization: Quantization,
    *,
    runtime: str = "onnxruntime",
    batch: int = 32,
    threads: int = 1,
    seconds: float = 2.0,
) -> Worth:
    """Return what the int8 file of a model saves.

    Args:
        model: the model of the quantization's result; its file in float32 is what is compared with.
        quantization: its grids.
        runtime: `onnxruntime` or `openvino`, which read the same file, or `litert`.
        batch: the rows of one call.
        threads: the threads that one call may use.
        seconds: how long both are timed.

    Raises:
        ModelError: the runtime cannot run one of the files.
        MissingExtraError: the runtime is not installed.
    """
    check_runtime(runtime)
    with tempfile.TemporaryDirectory() as name:
        (int8 := Path(name, "int8")).mkdir()
        whole = write_for(model, runtime, Path(name))
        small = write_for(model, runtime, int8, quantization)
        files = {"float32": whole, "int8": small}
        taken = race(files, batch=batch, threads=threads, seconds=seconds, runtime=runtime)
        size = small.stat().st_size / whole.stat().st_size
    saves = "size" if quantization.mode == "weights" else "time"
    return Worth(runtime, batch, ratio(taken["float32"], taken["int8"]), size, saves)
