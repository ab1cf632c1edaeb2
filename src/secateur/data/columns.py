"""What a valid value of each kind of column is, and what a model is told of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from secateur.data.spread import Spread

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


class Frozen(BaseModel):
    """A value that becomes JSON. What a contract of version 1 need not say is left out unless said.

    So a contract that says none of it is, byte for byte, what older versions wrote.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    unsaid: ClassVar[dict[str, Any]] = {"spread": None, "unit": None, "margin": 1.0, "gaps": None}

    @model_serializer(mode="wrap")
    def _said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unsaid = self.unsaid
        return {k: v for k, v in whole(self).items() if k not in unsaid or v != unsaid[k]}


class _Column(Frozen):
    """What all columns say.

    Attributes:
        name: the column.
        nullable: whether values were missing in the training data.
        gaps: what becomes of a row whose value is missing: "fill" or "quarantine". Where None,
            it is filled if values were missing in training, and else quarantined.
        spread: how the values of the training split were spread.
    """

    name: str
    nullable: bool = False
    gaps: Literal["fill", "quarantine"] | None = None
    spread: Spread | None = None

    @property
    def fills(self) -> bool:
        """Whether a missing value is filled; else its row is bad."""
        return self.nullable if self.gaps is None else self.gaps == "fill"


class _Ranged(_Column):
    """A column of numbers.

    Attributes:
        low: the least value of all rows that were read, values far outside aside.
        high: the greatest.
        margin: how many spans (`high` - `low`) beyond them a value may lie.
        unit: the unit of measure, for people.
    """

    low: float
    high: float
    margin: float = Field(default=1.0, ge=0)
    unit: str | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value allowed."""
        span = self.margin * ((self.high - self.low) or max(1.0, abs(self.high)))
        return max(self.low - span, -FLOAT32_MAX), min(self.high + span, FLOAT32_MAX)


class NumericColumn(_Ranged):
    """A number: `mean` and `std` of the training split, `low` and `high` of all rows read."""

    kind: Literal["numeric"] = "numeric"
    mean: float = 0.0
    std: float = 1.0
    integer: bool = False


class CategoricalColumn(_Column):
    """A word out of a vocabulary: code 0 is unknown or missing, code i + 1 is `vocabulary[i]`."""

    kind: Literal["categorical"] = "categorical"
    vocabulary: tuple[str, ...]


class BooleanColumn(_Column):
    """True or false."""

    kind: Literal["boolean"] = "boolean"


class DatetimeColumn(_Column):
    """A date or a moment, in UTC where it names a zone. `low` and `high` are ISO 8601.

    Time moves on by nature, so what is allowed reaches at least ten years beyond what was seen.
    """

    kind: Literal["datetime"] = "datetime"
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


class ListColumn(_Ranged):
    """A list of `length` numbers in one cell: one whole sample of a sequence.

    A row whose list is missing, or of another length, is always bad.
    """

    kind: Literal["list"] = "list"
    length: int = Field(gt=0)
    mean: tuple[float, ...]
    std: tuple[float, ...]


Column = Annotated[
    NumericColumn | CategoricalColumn | BooleanColumn | DatetimeColumn | ListColumn,
    Field(discriminator="kind"),
]


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


def has_indicator(column: Any) -> bool:
    """Tell whether a column has a feature that says whether its value is missing."""
    return column.nullable and not isinstance(column, CategoricalColumn)


def feature_names(column: Any) -> tuple[str, ...]:
    """Name the features of a column, missing values aside."""
    if isinstance(column, CategoricalColumn):
        return ()
    if isinstance(column, DatetimeColumn):
        return tuple(f"{column.name} {feature}" for feature in DATE_FEATURES)
    if isinstance(column, ListColumn):
        return tuple(f"{column.name}[{i}]" for i in range(column.length))
    return (column.name,)


def feature_moments(column: Any) -> list[tuple[float, float]]:
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
