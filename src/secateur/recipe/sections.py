"""The sections of a recipe: which keys there are, and which values each may have."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

# A step that takes no arguments may stand alone, by its name.
Entry = Annotated[
    dict[str, Any], BeforeValidator(lambda value: {value: {}} if isinstance(value, str) else value)
]

# One name may stand without brackets.
Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class Section(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def arguments(self) -> dict[str, Any]:
        """Return the values by name, as keyword arguments."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class DataSection(Section):
    """What `read` takes; `source` is a path relative to the recipe."""

    source: str
    target: str | None = None
    above: float | None = None
    keys: Names = ()
    ignore: Names = ()
    group: str | None = None
    stratify: bool = True
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    image_size: tuple[int, int] | None = None
    mode: Literal["RGB", "L"] | None = None
    resize: Literal["stretch", "fit", "crop"] = "stretch"
    shape: tuple[int, ...] | None = None
    header: bool = True
    class_names: tuple[str, ...] | dict[str, str] | None = None
    stream: bool | None = None


class ModelSection(Section):
    """Where the model comes from: built by default or by a function, or loaded from a file."""

    build: str | None = None
    load: str | None = None
    width: int | None = Field(default=None, ge=8)

    @model_validator(mode="after")
    def _one(self) -> ModelSection:
        if self.build is not None and self.load is not None:
            raise ValueError("give `build` or `load`, not both")
        if self.build not in (None, "default") and ":" not in (self.build or ""):
            raise ValueError("`build` is `default` or `package.module:function`")
        if self.width is not None and (self.load or self.build not in (None, "default")):
            raise ValueError("`width` is for `build: default` alone")
        return self


class AugmentSection(Section):
    """What `augmentation` takes; what is not given has its default."""

    flip: bool = False
    rotate: float | None = Field(default=None, ge=0)
    shift: float | None = Field(default=None, ge=0)
    zoom: float | None = Field(default=None, ge=0)
    contrast: float | None = Field(default=None, ge=0)
    noise: float | None = Field(default=None, ge=0)
    vertical_flip: bool = False
    rand_augment: int | None = Field(default=None, ge=0)
    strength: float | None = Field(default=None, ge=0, le=1)
    mixup: float | None = Field(default=None, ge=0)
    cutmix: float | None = Field(default=None, ge=0)
    warp: float | None = Field(default=None, ge=0)
    swap: float | None = Field(default=None, ge=0)


class TrainSection(Section):
    """What `fit` takes."""

    epochs: int = Field(default=30, ge=1)
    batch_size: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    patience: int | None = Field(default=None, ge=1)
    class_weights: bool | dict[str, float] = False
    augment: AugmentSection | None = None

    @field_validator("augment", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    def arguments(self) -> dict[str, Any]:
        """Return the values by name, as keyword arguments."""
        values = super().arguments()
        if self.augment is not None:
            values["augment"] = self.augment.model_dump(exclude_unset=True, exclude_none=True)
            values["augment"] = values["augment"] or True
        return values


class ExportSection(Section):
    """How the result is written."""

    format: Literal["onnx"] = "onnx"
    tolerance: float = Field(default=1e-3, gt=0)


class MeasureSection(Section):
    """At which batch sizes, and on how many threads, the exported files race each other.

    `groups` are columns (of image files patterns on the path) by whose values the test rows are
    judged apart; a loss of more than `margin` points is warned of; `corruptions` says whether the
    models are also tried on noisy, blurred or incomplete inputs.
    """

    batches: tuple[int, ...] = Field(default=(1, 32), min_length=1)
    threads: int = Field(default=1, ge=1)
    seconds: float = Field(default=3.0, gt=0)
    groups: Names = ()
    margin: float = Field(default=5.0, gt=0, le=100)
    corruptions: bool = True

    @model_validator(mode="after")
    def _positive(self) -> MeasureSection:
        if min(self.batches) < 1:
            raise ValueError("a batch has at least one row")
        return self


class ExploreSection(Section):
    """What `explore` takes; the ranges stand in the steps."""

    objectives: tuple[str, ...] = Field(default=("accuracy", "macs"), min_length=1)
    trials: int = Field(default=50, ge=1)
    runtime: Literal["onnxruntime", "openvino", "litert"] = "onnxruntime"
    batch: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1)


class CompareSection(Section):
    """What `compare` sets side by side: a list of steps by the name of each contender.

    Without contenders there is one a family (see `contenders`); one without steps is the family of
    that name. Every contender starts from the same baseline, once for each seed.
    """

    macs: float = Field(default=0.5, gt=0, lt=1)
    epochs: int = Field(default=10, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    round_to: int | None = Field(default=None, ge=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2), min_length=1)
    runtimes: tuple[Literal["onnxruntime", "openvino", "litert"], ...] | None = Field(
        default=None, min_length=1
    )
    contenders: dict[str, Annotated[tuple[Entry, ...], Field(min_length=1)] | None] | None = Field(
        default=None, min_length=1
    )

    @model_validator(mode="after")
    def _apart(self) -> CompareSection:
        for values in (self.seeds, self.runtimes or ()):
            if len(set(values)) < len(values):
                raise ValueError(f"one is given twice in {list(values)}")
        for name in self.contenders or ():
            # The name is that of a folder as well.
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}", name) or name == "baseline":
                raise ValueError(
                    f"{name!r} is no name of a contender: write letters, digits, '.', '_', '+' "
                    "and '-', at most 60, and not 'baseline'"
                )
        return self


SECTIONS: dict[str, type[Section]] = {
    "data": DataSection,
    "model": ModelSection,
    "train": TrainSection,
    "export": ExportSection,
    "measure": MeasureSection,
    "explore": ExploreSection,
    "compare": CompareSection,
}

# Imported when a recipe names them: they load Keras.
STEPS = {
    "prune": "secateur.steps.prune:Prune",
    "select": "secateur.steps.select:Select",
    "sparsify": "secateur.steps.sparsify:Sparsify",
    "finetune": "secateur.steps.finetune:FineTune",
    "factorize": "secateur.steps.factorize:Factorize",
    "quantize": "secateur.steps.quantize:Quantize",
    "regularize": "secateur.steps.regularize:Regularize",
}
