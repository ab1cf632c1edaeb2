"""What a valid row is, and what a model gets to see of it; it travels with the model.

Everything here is frozen and becomes JSON: a contract read back equals the contract written.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secateur.errors import ContractError
from secateur.files import write_whole

VERSION = 1
MAX_CONTRACT_BYTES = 64 * 2**20
FLOAT32_MAX = float(np.finfo(np.float32).max)
DAY_US = 86_400_000_000
MIN_DATE_SLACK_US = 3653 * DAY_US
DATE_FEATURES = (
    "hour sin",
    "hour cos",
    "weekday sin",
    "weekday cos",
    "yearday sin",
    "yearday cos",
    "date",
)
# The date runs from 0 to 1 over the data; the others are sine and cosine of a full turn.
_DATE_MEAN = (0.0,) * 6 + (0.5,)
_DATE_VARIANCE = (0.5,) * 6 + (1 / 12,)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _limits(low: float, high: float) -> tuple[float, float]:
    """Return the least and greatest value allowed: one span beyond what was seen, each side."""
    span = (high - low) or max(1.0, abs(high))
    return max(low - span, -FLOAT32_MAX), min(high + span, FLOAT32_MAX)


class NumericColumn(_Frozen):
    """A number: `mean` and `std` of the training split, `low` and `high` of all rows read."""

    kind: Literal["numeric"] = "numeric"
    name: str
    nullable: bool = False
    mean: float = 0.0
    std: float = 1.0
    low: float
    high: float
    integer: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value allowed: one span beyond `low` and `high`."""
        return _limits(self.low, self.high)


class CategoricalColumn(_Frozen):
    """A word out of a vocabulary: code 0 is unknown or missing, code i + 1 is `vocabulary[i]`."""

    kind: Literal["categorical"] = "categorical"
    name: str
    nullable: bool = False
    vocabulary: tuple[str, ...]


class BooleanColumn(_Frozen):
    """True or false."""

    kind: Literal["boolean"] = "boolean"
    name: str
    nullable: bool = False


class DatetimeColumn(_Frozen):
    """A date or a moment, in UTC where it names a zone. `low` and `high` are ISO 8601.

    Time moves on by nature, so what is allowed reaches at least ten years beyond what was seen.
    """

    kind: Literal["datetime"] = "datetime"
    name: str
    nullable: bool = False
    low: str
    high: str

    @property
    def span(self) -> tuple[int, int]:
        """`low` and `high` in microseconds since 1970."""
        return iso_to_us(self.low), iso_to_us(self.high)

    @property
    def limits(self) -> tuple[int, int]:
        """The first and the last moment allowed, in microseconds since 1970."""
        low, high = self.span
        slack = max(high - low, MIN_DATE_SLACK_US)
        return low - slack, high + slack


class ListColumn(_Frozen):
    """A list of `length` numbers in one cell: one whole sample of a sequence."""

    kind: Literal["list"] = "list"
    name: str
    nullable: bool = False
    length: int = Field(gt=0)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float
    high: float

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value allowed: one span beyond `low` and `high`."""
        return _limits(self.low, self.high)


Column = Annotated[
    NumericColumn | CategoricalColumn | BooleanColumn | DatetimeColumn | ListColumn,
    Field(discriminator="kind"),
]


class Target(_Frozen):
    """What the model predicts.

    Attributes:
        name: the column, or "class" for class folders.
        classes: the names of the classes in the order of their codes; None for regression.
        above: where a number was turned into two classes, the number; classes are "<= x", "> x".
        labels: what stands in the data for each class, where the classes were given other names.
    """

    name: str
    classes: tuple[str, ...] | None = None
    above: float | None = None
    labels: tuple[str, ...] | None = None

    @property
    def raw(self) -> tuple[str, ...]:
        """What stands in the data for each class."""
        return self.labels or self.classes or ()


class ImageSpec(_Frozen):
    """How an image file becomes an array of (height, width, channels), uint8.

    `resize` is one of three rules, all bilinear with anti-aliasing:

    * "stretch": to exactly height x width, whatever the photo's shape;
    * "fit": the whole photo, scaled to fit inside and centred on black;
    * "crop": scaled to cover, and the centre cut out.

    Files of more than `max_bytes` and photos of more than `max_pixels` are refused before decoding.
    """

    height: int = Field(gt=0, le=8192)
    width: int = Field(gt=0, le=8192)
    mode: Literal["RGB", "L"] = "RGB"
    resize: Literal["stretch", "fit", "crop"] = "stretch"
    max_pixels: int = Field(default=89_478_485, gt=0)
    max_bytes: int = Field(default=64 * 2**20, gt=0)

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for L."""
        return 3 if self.mode == "RGB" else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


class Contract(_Frozen):
    """What a valid row is: columns, types, ranges, vocabularies, and the target.

    Attributes:
        kind: "table", "sequence", "image" or "array".
        columns: the inputs in order; for an array one a channel of its last axis.
        image: how image files are read (kind "image").
        shape: the shape of one sample (kinds "sequence" and "array").
        dtype: the type of an array (kind "array").
        target: what is predicted.
        keys: columns that are carried to the scores and that the model does not see.
        fields: the names of all fields of a CSV file without a header, in order.
    """

    version: int = VERSION
    kind: Literal["table", "sequence", "image", "array"]
    columns: tuple[Column, ...] = ()
    image: ImageSpec | None = None
    shape: tuple[int, ...] | None = None
    dtype: Literal["float32", "uint8"] = "float32"
    target: Target | None = None
    keys: tuple[str, ...] = ()
    fields: tuple[str, ...] | None = None

    NUMERIC: ClassVar[str] = "numeric"
    CATEGORICAL: ClassVar[str] = "categorical"

    @model_validator(mode="after")
    def _whole(self) -> Contract:
        if self.version > VERSION:
            raise ValueError(
                f"version {self.version} is newer than this secateur knows ({VERSION})"
            )
        if self.kind == "image" and self.image is None:
            raise ValueError("an image contract needs `image`")
        if self.kind in ("sequence", "array") and not self.shape:
            raise ValueError(f"a contract of kind {self.kind!r} needs `shape`")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        return self

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What is predicted: a class or a number."""
        return "regression" if self.target and self.target.classes is None else "classification"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of their codes; empty for regression."""
        return (self.target.classes or ()) if self.target else ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that a model of this contract needs: its inputs, then its keys."""
        if self.kind in ("image", "array"):
            return self.keys
        return tuple(dict.fromkeys([*(column.name for column in self.columns), *self.keys]))

    @property
    def header(self) -> bool:
        """Whether CSV files have a line of names first."""
        return self.fields is None

    def features(self) -> tuple[str, ...]:
        """Name each position of the numeric input, in order."""
        plain = [name for column in self.columns for name in _feature_names(column)]
        if self.kind != "table":
            return tuple(plain)
        missing = [f"{c.name} is missing" for c in self.columns if _has_indicator(c)]
        return tuple(plain + missing)

    def categorical(self) -> tuple[CategoricalColumn, ...]:
        """Return the categorical columns, in the order of the "categorical" input."""
        return tuple(c for c in self.columns if isinstance(c, CategoricalColumn))

    def inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return the model's inputs: name -> (shape without the batch, NumPy type)."""
        if self.kind == "image":
            assert self.image is not None
            return {"image": (self.image.shape, "uint8")}
        if self.kind == "sequence":
            return {"sequence": (tuple(self.shape or ()), "float32")}
        if self.kind == "array":
            return {"array": (tuple(self.shape or ()), self.dtype)}
        inputs: dict[str, tuple[tuple[int, ...], str]] = {}
        if width := len(self.features()):
            inputs[self.NUMERIC] = ((width,), "float32")
        if count := len(self.categorical()):
            inputs[self.CATEGORICAL] = ((count,), "int32")
        return inputs

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training mean and variance of the numeric input, both float32.

        A table has one pair a feature ("is missing" indicators: 0 and 1), a sequence or an array
        one pair a channel of its last axis. A constant has variance 1.
        """
        if self.kind == "image":
            assert self.image is not None
            return np.zeros(self.image.channels, "float32"), np.ones(self.image.channels, "float32")
        pairs = [pair for column in self.columns for pair in _feature_moments(column)]
        mean, variance = (
            (np.array(side, "float64") for side in zip(*pairs, strict=True))
            if pairs
            else (
                np.zeros(0),
                np.zeros(0),
            )
        )
        if self.kind == "sequence":
            channels = (self.shape or (1,))[-1]
            mean, variance = mean.reshape(-1, channels), variance.reshape(-1, channels)
            total = mean.mean(axis=0)
            variance = (variance + (mean - total) ** 2).mean(axis=0)
            mean = total
        if self.kind == "table":
            extra = sum(map(_has_indicator, self.columns))
            mean = np.concatenate([mean, np.zeros(extra)])
            variance = np.concatenate([variance, np.ones(extra)])
        flat = variance < 1e-12 * np.maximum(1.0, mean**2)
        return mean.astype("float32"), np.where(flat, 1.0, variance).astype("float32")

    def save(self, path: str | Path) -> Path:
        """Write the contract as JSON and return the path.

        Raises:
            OutputError: the file cannot be written.
        """
        return write_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Contract:
        """Read a contract that `save` wrote.

        Raises:
            ContractError: the file is missing, too large, or not a contract.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_CONTRACT_BYTES:
                raise ContractError(
                    f"the file has {path.stat().st_size:,} bytes; no contract is that large.",
                    where=path,
                )
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ContractError(
                f"the contract cannot be read: {error.strerror or error}.", where=path
            ) from error
        except ValidationError as error:
            raise ContractError(f"not a contract: {_first(error)}.", where=path) from error

    def fingerprint(self) -> str:
        """Return the SHA-256 of the contract's canonical JSON, in hex."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def iso_to_us(text: str) -> int:
    """Return an ISO 8601 moment as microseconds since 1970, UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def us_to_iso(microseconds: int) -> str:
    """Return microseconds since 1970 as ISO 8601, without a zone."""
    text = str(np.datetime64(int(microseconds), "us"))
    return text.removesuffix(".000000")


def describe_number(value: float) -> str:
    """Write a number the short way: 15 for 15.0."""
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
    return str(int(value)) if whole else repr(float(value))


def counted(count: int, noun: str) -> str:
    """Write a count and its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _has_indicator(column: Any) -> bool:
    return column.nullable and not isinstance(column, CategoricalColumn)


def _feature_names(column: Any) -> tuple[str, ...]:
    if isinstance(column, CategoricalColumn):
        return ()
    if isinstance(column, DatetimeColumn):
        return tuple(f"{column.name} {feature}" for feature in DATE_FEATURES)
    if isinstance(column, ListColumn):
        return tuple(f"{column.name}[{i}]" for i in range(column.length))
    return (column.name,)


def _feature_moments(column: Any) -> list[tuple[float, float]]:
    """Return (mean, variance) of each feature; a missing value is filled with the mean."""
    if isinstance(column, CategoricalColumn):
        return []
    if isinstance(column, DatetimeColumn):
        return list(zip(_DATE_MEAN, _DATE_VARIANCE, strict=True))
    if isinstance(column, BooleanColumn):
        return [(0.5, 0.25)]
    if isinstance(column, ListColumn):
        return [(mean, std**2) for mean, std in zip(column.mean, column.std, strict=True)]
    return [(column.mean, column.std**2)]


def _first(error: ValidationError) -> str:
    first: Mapping[str, Any] = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
