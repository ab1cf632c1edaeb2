"""What a valid row is, and what a model gets to see of it; it travels with the model.

Everything here is frozen and becomes JSON: a contract read back equals the contract written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from secateur.data.columns import (
    DATE_FEATURES,
    DAY_US,
    FLOAT32_MAX,
    BooleanColumn,
    CategoricalColumn,
    Column,
    DatetimeColumn,
    Frozen,
    ListColumn,
    NumericColumn,
    describe_number,
    feature_moments,
    feature_names,
    has_indicator,
    iso_to_us,
    us_to_iso,
)
from secateur.data.spread import Spread
from secateur.data.texts import from_yaml, to_yaml
from secateur.errors import ContractError
from secateur.files import write_whole

__all__ = [
    "DATE_FEATURES",
    "DAY_US",
    "FLOAT32_MAX",
    "BooleanColumn",
    "CategoricalColumn",
    "Contract",
    "DatetimeColumn",
    "ImageSpec",
    "ImageSpread",
    "ListColumn",
    "NumericColumn",
    "Target",
    "counted",
    "describe_number",
    "iso_to_us",
    "us_to_iso",
]

VERSION = 1
MAX_CONTRACT_BYTES = 64 * 2**20
YAML = (".yaml", ".yml")


class Target(Frozen):
    """What the model predicts.

    Attributes:
        name: the column, or "class" for class folders.
        classes: the names of the classes in the order of their codes; None for regression.
        above: where a number was turned into two classes, the number; classes are "<= x", "> x".
        labels: what stands in the data for each class, where the classes were given other names.
        spread: the share of each class, or of numbers, in the training split.
    """

    name: str
    classes: tuple[str, ...] | None = None
    above: float | None = None
    labels: tuple[str, ...] | None = None
    spread: Spread | None = None

    @property
    def raw(self) -> tuple[str, ...]:
        """What stands in the data for each class."""
        return self.labels or self.classes or ()


class ImageSpread(Frozen):
    """What the training images were like as files.

    Attributes:
        brightness: of the mean of each image, 0 (black) to 255, as the model sees it.
        pixels: of height times width of each file.
        gray: the share of the files without colour.
    """

    brightness: Spread
    pixels: Spread
    gray: float = Field(ge=0, le=1)


class ImageSpec(Frozen):
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
    spread: ImageSpread | None = None

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for L."""
        return 3 if self.mode == "RGB" else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels


class Contract(Frozen):
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
        plain = [name for column in self.columns for name in feature_names(column)]
        if self.kind != "table":
            return tuple(plain)
        missing = [f"{c.name} is missing" for c in self.columns if has_indicator(c)]
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
        pairs = [pair for column in self.columns for pair in feature_moments(column)]
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
            extra = sum(map(has_indicator, self.columns))
            mean = np.concatenate([mean, np.zeros(extra)])
            variance = np.concatenate([variance, np.ones(extra)])
        flat = variance < 1e-12 * np.maximum(1.0, mean**2)
        return mean.astype("float32"), np.where(flat, 1.0, variance).astype("float32")

    def save(self, path: str | Path) -> Path:
        """Write the contract and return the path: as YAML where it ends so, else as JSON.

        Raises:
            OutputError: the file cannot be written.
        """
        if Path(path).suffix in YAML:
            tree = self.model_dump(mode="json", exclude_none=True)
            tree["columns"] = list(map(_named_first, tree["columns"]))
            return write_whole(path, to_yaml(tree))
        return write_whole(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Contract:
        """Read a contract that `save` wrote, or that a person edited.

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
            content = path.read_bytes()
        except OSError as error:
            raise ContractError(
                f"the contract cannot be read: {error.strerror or error}.", where=path
            ) from error
        try:
            if path.suffix in YAML:
                return cls.model_validate(from_yaml(content))
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ContractError(f"not a contract: {_first(error)}.", where=path) from error
        except ValueError as error:
            raise ContractError(f"not a contract: {error}.", where=path) from error

    def fingerprint(self) -> str:
        """Return the SHA-256 of the contract's canonical JSON, in hex.

        How values were spread is left out: it decides on nothing that happens to a row.
        """
        tree = _without_spreads(self.model_dump(mode="json"))
        text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def counted(count: int, noun: str) -> str:
    """Write a count and its noun: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _without_spreads(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_spreads(inner) for k, inner in value.items() if k != "spread"}
    return [_without_spreads(inner) for inner in value] if isinstance(value, list) else value


def _named_first(column: dict[str, Any]) -> dict[str, Any]:
    first = {key: column[key] for key in ("name", "kind")}
    last = {key: column[key] for key in ("spread",) if key in column}
    return {**first, **{k: v for k, v in column.items() if k not in {*first, *last}}, **last}


def _first(error: ValidationError) -> str:
    first: Mapping[str, Any] = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
