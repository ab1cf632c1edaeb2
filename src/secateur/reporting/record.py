"""What a run leaves behind for its report: one frozen value, one JSON file.

The record holds plain figures and strings alone. It knows nothing of models, data sets or
measurements, so a report can be drawn again years later, on a machine that has none of them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from secateur.errors import ArtifactError
from secateur.files import write_whole

FORMAT = 1
FILE_NAME = "run.json"


def _finite(value: Any) -> Any:
    # JSON has no NaN: a loss that diverged is a gap in its curve, not an unreadable record.
    return None if isinstance(value, float) and not math.isfinite(value) else value


# A page that fetched its pictures would need a network, and would tell others that it is read.
Picture = Annotated[str, Field(pattern=r"^data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$")]
Figure = Annotated[float | None, BeforeValidator(_finite)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Format(BaseModel):
    format: int


class MetricsView(_Record):
    """How good a stage is on the test rows; what was not measured is None.

    Accuracy, macro-F1, chance and recalls are shares from 0 to 1. `confusion` holds counts, one
    row for each true class and one column for each predicted class, in the order of
    `DataSummary.classes`; `per_class` maps a class to its recall.
    """

    task: Literal["classification", "regression"]
    rows: int | None = None
    accuracy: Figure = None
    macro_f1: Figure = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    per_class: dict[str, Figure] | None = None
    chance: Figure = None
    mae: Figure = None
    rmse: Figure = None
    r2: Figure = None


class LatencyView(_Record):
    """How long one batch took, in milliseconds, and under what conditions."""

    runtime: str = "onnxruntime"
    batch: int
    threads: int = 1
    median_ms: float
    p95_ms: Figure = None
    runs: int | None = None

    @property
    def setting(self) -> tuple[str, int, int]:
        """Runtime, batch and threads: only latencies of one setting may be compared."""
        return self.runtime, self.batch, self.threads


class Stage(_Record):
    """The model at one point of the way: "baseline", "cut", "healed", "fine-tuned", "exported".

    `macs` are multiply-accumulates for one sample, `bytes` those of the weights as the model
    stores them, `file_bytes` those of the exported file, `seconds` what reaching the stage took.
    """

    name: str
    title: str = ""
    metrics: MetricsView | None = None
    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None
    file_bytes: int | None = None
    latencies: tuple[LatencyView, ...] = ()
    seconds: Figure = None
    note: str = ""

    @property
    def label(self) -> str:
        """The title, or the name with a capital where there is no title."""
        return self.title or self.name[:1].upper() + self.name[1:]


class LayerWidth(_Record):
    """How wide one layer was and is, and how many parameters it had and has."""

    layer: str
    kind: str = ""
    before: int
    after: int
    parameters_before: int | None = None
    parameters_after: int | None = None


class Node(_Record):
    """A layer in the wiring, or a place where branches meet: its width, and what it reads.

    `inputs` are names of earlier nodes; a node without any reads the model's input.
    """

    name: str
    kind: str = ""
    before: int
    after: int
    inputs: tuple[str, ...] = ()
    merges: bool = False


class Tried(_Record):
    """A model that a search looked at: its share of a cost, and how good it was on validation rows.

    `cost` names what the share is of ("macs", "params", ...), `value` is None where the budget
    could not be met.
    """

    cost: str
    share: float
    value: Figure = None
    chosen: bool = False


class GroupCut(_Record):
    """One group of units: which layers share it, how many units it had, how many went, and why.

    `removed` is 0 for a group that was left as it was; `why` then says what held it.
    """

    name: str
    kind: str = ""
    members: tuple[str, ...] = ()
    units: int
    removed: int
    why: str = ""


class Curve(_Record):
    """What one training showed: for each metric ("loss", "val_loss", ...) a value an epoch."""

    stage: str
    metrics: dict[str, tuple[Figure, ...]]


class Sensitivity(_Record):
    """The loss as one group alone lost units: right after each cut, and healed.

    `removed` holds how many of its `units` went, `whole` the loss of the whole model.
    """

    group: str
    units: int
    whole: Figure = None
    removed: tuple[int, ...]
    cut: tuple[Figure, ...]
    healed: tuple[Figure, ...]


class SliceView(_Record):
    """Some rows before and after: the share that is right, or the mean absolute error.

    `low` and `high` bound the change at 95 % confidence; `flagged` rows lost more than the margin,
    and more than noise.
    """

    name: str
    rows: int
    before: Figure = None
    after: Figure = None
    low: Figure = None
    high: Figure = None
    flagged: bool = False


class BinView(_Record):
    """The rows of one interval of confidence: how many, how sure, and how often right."""

    rows: int
    confidence: float
    accuracy: float


class CalibrationView(_Record):
    """The expected calibration error, a share from 0 to 1, and the bins that have rows."""

    error: Figure = None
    bins: tuple[BinView, ...] = ()


class RobustnessView(_Record):
    """What changed for whom: classes, groups by column, conditions, calibration before and after.

    `margin` is the loss that is warned of, in points, or in per cent of a mean absolute error.
    """

    margin: float
    classes: tuple[SliceView, ...] = ()
    groups: dict[str, tuple[SliceView, ...]] = {}
    conditions: tuple[SliceView, ...] = ()
    calibration: tuple[CalibrationView, CalibrationView] | None = None


class Guess(_Record):
    """What a model said of one sample: a class or a value, and how sure it was (0 to 1)."""

    label: str
    probability: Figure = None


class Sample(_Record):
    """One test row with its truth and what the model said before and after.

    `image` is a `data:image/...` URI, as `images.data_uri` makes it; `fields` are the raw values of
    a table's row.
    """

    title: str = ""
    truth: str
    before: Guess | None = None
    after: Guess | None = None
    image: Picture | None = None
    fields: dict[str, str] | None = None


class DataSummary(_Record):
    """What the run learned from: source, rows of each split, classes or target, model inputs.

    `inputs` maps an input's name to its shape and type in words ("64 x 64 x 3, uint8").
    """

    kind: str
    source: str = ""
    rows: dict[str, int] = {}
    classes: tuple[str, ...] = ()
    target: str | None = None
    inputs: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class Run(_Record):
    """Everything that a report shows of one run.

    `created` is an ISO 8601 time, `secateur` the version that ran, `asked` the request in words
    ("Multiply-accumulates" -> "at most half"), `recipe` the YAML text, `command` what was typed.

    Example:
        >>> run = Run(name="digits", created="2026-11-02T09:30:00+00:00", secateur="0.1.0")
        >>> Run.model_validate_json(run.model_dump_json()) == run
        True
    """

    format: int = FORMAT
    name: str
    created: str
    secateur: str
    source: str = ""
    asked: dict[str, str] = {}
    data: DataSummary | None = None
    stages: tuple[Stage, ...] = ()
    layers: tuple[LayerWidth, ...] = ()
    network: tuple[Node, ...] = ()
    groups: tuple[GroupCut, ...] = ()
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    samples: tuple[Sample, ...] = ()
    robustness: RobustnessView | None = None
    environment: dict[str, str] = {}
    recipe: str = ""
    command: str = ""
    seconds: Figure = None

    def save(self, folder: str | Path) -> Path:
        """Write the record into a run folder and return the file's path.

        Raises:
            OutputError: the file cannot be written; what stood there before is left as it was.
        """
        return write_whole(Path(folder) / FILE_NAME, self.model_dump_json(indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a record from its file, or from the run folder that holds it.

        Raises:
            ArtifactError: there is no record, or it is not one that this version can read.
        """
        path = Path(path)
        file = path / FILE_NAME if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ArtifactError(
                "there is no record of a run here.",
                where=file,
                mend=f"Give the folder that `secateur run` wrote; it holds {FILE_NAME}.",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"The record cannot be read: {error}.", where=file) from None
        return cls._parse(text, file)

    @classmethod
    def _parse(cls, text: str, file: Path) -> Run:
        try:
            # The format comes first: a newer record may well have fields that are unknown here.
            found = _Format.model_validate_json(text).format
            run = cls.model_validate_json(text) if found == FORMAT else None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(
                f"The record is damaged or not a record: {first['msg']}"
                + (f" at {place}." if place else "."),
                where=file,
                mend="Run the recipe again; the record is written anew.",
            ) from None
        if run is None:
            raise ArtifactError(
                f"The record has format {found}; this version reads format {FORMAT}.",
                where=file,
                mend="Use the version of secateur that wrote it.",
            )
        return run
