"""Quantization as a value: the grid of every quantized tensor, which tensors, and what was kept.

A grid is learned or calibrated on the Keras side and carried into every format that is written, so
that the file rounds exactly as the model did that was judged. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secateur.errors import ArtifactError

Mode = Literal["static", "dynamic", "weights"]
MODES: tuple[Mode, ...] = ("static", "dynamic", "weights")


class Grid(BaseModel):
    """The values that a quantized tensor may take: `scale * (q - zero)`, q a whole number.

    Attributes:
        bits: how many bits q has.
        signed: whether q may be negative; then it goes as far below zero as above.
        scale: the steps, float32, in C order over `axes`; one where there are no axes.
        zero: the q that stands for 0, at each step; 0 throughout for weights.
        axes: the axes of the tensor along which each position has a step of its own.
        block: so many inputs (positions of axis 0 of a matrix) share a step; `None` for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bits: int = Field(default=8, ge=2, le=8)
    signed: bool = True
    scale: tuple[float, ...]
    zero: tuple[int, ...] = (0,)
    axes: tuple[int, ...] = ()
    block: int | None = Field(default=None, ge=16)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.scale or not all(math.isfinite(s) and s > 0 for s in self.scale):
            raise ValueError("every step must be a finite number above 0")
        if not all(self.low <= z <= self.high for z in self.zero):
            raise ValueError(f"zero must lie between {self.low} and {self.high}")
        return self

    @property
    def low(self) -> int:
        """The smallest q."""
        return -self.high if self.signed else 0

    @property
    def high(self) -> int:
        """The largest q."""
        return 2 ** (self.bits - self.signed) - 1

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest value of a tensor with one step."""
        step = np.float32(self.scale[0])
        return float(step * (self.low - self.zero[0])), float(step * (self.high - self.zero[0]))

    def steps(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the steps as float32, in a shape that goes with a tensor of `shape`."""
        scale = np.array(self.scale, np.float32)
        if self.block is not None:
            rows = np.repeat(scale.reshape(-1, shape[1]), self.block, axis=0)
            return rows[: shape[0]]
        return scale.reshape([n if k in self.axes else 1 for k, n in enumerate(shape)])

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return q for each value, rounded half to even, as int32."""
        codes = np.round(values.astype(np.float32) / self.steps(values.shape)) + self.zero[0]
        return np.clip(codes, self.low, self.high).astype(np.int32)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Return the values on the grid that are nearest to some values, as float32."""
        steps = self.steps(values.shape)
        return (self.codes(values) - self.zero[0]).astype(np.float32) * steps

    @classmethod
    def between(cls, low: float, high: float, *, bits: int = 8) -> Self:
        """Return the grid of an activation that lies between two values, 0 among them."""
        low, high = min(float(low), 0.0), max(float(high), 0.0)
        most = 2**bits - 1
        step = float(np.float32((high - low) / most)) or 1.0
        zero = int(np.clip(round(-low / step), 0, most))
        return cls(bits=bits, signed=False, scale=(step,), zero=(zero,))

    @classmethod
    def symmetric(cls, limits: np.ndarray, axes: tuple[int, ...], *, bits: int = 8) -> Self:
        """Return the grid of a weight whose sizes reach `limits`, one an element of `axes`.

        A channel of nothing but zeros takes any step.
        """
        steps = np.asarray(limits, np.float32) / np.float32(2 ** (bits - 1) - 1)
        steps = np.where(steps > 0, steps, np.float32(1)).ravel()
        return cls(bits=bits, scale=tuple(steps.tolist()), axes=axes)


class Quantization(BaseModel):
    """What of a model is quantized, and how.

    Attributes:
        mode: `static`, the ranges of activations are fixed; `dynamic`, they are found anew at each
            call, for the products with Dense and LSTM kernels; `weights`, only weights are.
        weights: the grid of each weight, by the path of its variable.
        activations: the grid of each tensor, by the name of the operation that gives it; in static
            mode only.
        stored: in static mode, the paths of weights that are stored in integers and multiplied in
            float32.
        kept: why a layer stays as it was, by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "static"
    weights: Mapping[str, Grid] = Field(default_factory=dict)
    activations: Mapping[str, Grid] = Field(default_factory=dict)
    stored: tuple[str, ...] = ()
    kept: Mapping[str, str] = Field(default_factory=dict)

    @property
    def wide(self) -> bool:
        """Whether weights of eight bits are multiplied in integers."""
        return self.mode != "weights" and any(
            grid.bits == 8 for path, grid in self.weights.items() if path not in self.stored
        )

    def to_json(self) -> str:
        """Return it as JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str | Path | None = None) -> Self:
        """Return what `to_json` wrote.

        Raises:
            ArtifactError: it is not that.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ArtifactError(
                f"the quantization's {key or 'text'} is wrong: {first['msg']}.",
                where=where,
                mend="Quantize the model again.",
            ) from error
