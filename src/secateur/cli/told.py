"""What `--json` prints: one frozen value a command, whose keys are a promise.

Within a major version keys are added, and none is taken away, renamed or given another meaning.
`inspect` prints layers and groups as plain mappings, `plan` the plan itself (`Plan.to_json`), and
`score` the `Tally`. Nothing but JSON goes to the standard output; where a command fails, nothing
does, and the exit code tells of what kind the failure is. `doctor`, `verify` and `check` print what
they found also where it makes them leave with another code than 0.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from secateur.cost.cost import Cost
from secateur.reporting.record import Figure, Stage
from secateur.scoring.tally import Tally


class Told(BaseModel):
    """A frozen value with these keys and no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InitTold(Told):
    """What `secateur init --json` prints.

    Attributes:
        recipe: the file that was written.
        kind: `table`, `image` or `sequence`.
        rows: how many rows there are that can be used.
        classes: how many rows to train on each class has; empty for a number.
        notes: what was left out or taken in another way, one sentence each.
    """

    recipe: str
    kind: str
    rows: int
    classes: dict[str, int]
    notes: tuple[str, ...]


class LayerTold(Told):
    """A layer: its path, class, output shape without the batch, weights and multiply-adds."""

    layer: str
    kind: str
    output: str
    parameters: int
    macs: int


class GroupTold(Told):
    """A group of units.

    Attributes:
        name: the group's name, as a plan names it.
        kind: `channel`, `stream`, `head`, `query-key`, `value`, `cell` or `block`.
        members: the layers that make its units.
        units: how many units it has.
        free: how many of them may go.
        why: what holds the others.
    """

    name: str
    kind: str
    members: tuple[str, ...]
    units: int
    free: int
    why: tuple[str, ...]


class SensitivityTold(Told):
    """The loss as one group alone loses units: `removed` of its `units`, as cut and as healed."""

    group: str
    members: tuple[str, ...]
    units: int
    whole: Figure
    removed: tuple[int, ...]
    cut: tuple[Figure, ...]
    healed: tuple[Figure, ...]


class InspectTold(Told):
    """What `secateur inspect --json` prints.

    Attributes:
        model: the model's name.
        cost: parameters, multiply-adds, bytes, and the latencies that were measured.
        layers: every layer with its output, parameters and multiply-adds.
        groups: the groups of units, with what may go and what holds the rest.
        sensitivity: the loss as each group alone loses units; with `--sensitivity` alone.
    """

    model: str
    cost: Cost
    layers: tuple[LayerTold, ...]
    groups: tuple[GroupTold, ...]
    sensitivity: tuple[SensitivityTold, ...] | None = None


class CutTold(Told):
    """What one group gives: the indices of the units that go, ascending, and why these."""

    group: str
    members: tuple[str, ...]
    units: int
    remove: tuple[int, ...]
    reason: str


class PlanTold(Told):
    """What `secateur plan --json` prints: the file that `--out` writes.

    Attributes:
        model: the name of the model.
        fingerprint: the structure that the plan belongs to.
        asked: the budget, for example `{"macs": 0.5}`.
        by: the criterion.
        cuts: what each group gives.
        before: `macs` and `parameters` as they are.
        after: `macs` and `parameters` as they will be.
        pins: what could not be considered, and why.
    """

    model: str
    fingerprint: str
    asked: dict[str, float]
    by: str
    cuts: tuple[CutTold, ...]
    before: dict[str, int]
    after: dict[str, int]
    pins: tuple[str, ...]


class RunTold(Told):
    """What `secateur run --json` prints; the whole record is in `run.json` in the folder.

    Attributes:
        name: the recipe's name.
        folder: the folder of the run.
        report: the page.
        artifact: the exported model, for `secateur score`.
        headline: the one sentence that matters.
        stages: the model at each point of the way, the first as it was and the last as exported.
        warnings: what makes the figures doubtful.
        seconds: how long it took, interruptions left out.
    """

    name: str
    folder: str
    report: str
    artifact: str
    headline: str
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]
    seconds: Figure


class TriedTold(Told):
    """One trial: what was drawn, the steps made of it, and what their model is worth.

    Attributes:
        number: its place, from 1.
        state: `done`, or `refused` where a step could not do what was asked.
        values: by objective; empty where it was refused.
        settings: what was drawn, by name.
        steps: the steps, as they would be written in Python.
        seconds: how long it took.
        why: why it was refused.
        model: the file of its model, below the folder; models of the front alone are kept.
    """

    number: int
    state: str
    values: dict[str, float]
    settings: dict[str, Any]
    steps: tuple[str, ...]
    seconds: float
    why: str = ""
    model: str | None = None


class ExploreTold(Told):
    """What `secateur explore --json` prints.

    Attributes:
        folder: the folder of the search.
        objectives: what the models were judged by, on the validation rows.
        whole: what the model before the steps is worth, by objective.
        trials: all that was tried, in order; those of the front have a `model`.
    """

    folder: str
    objectives: tuple[str, ...]
    whole: dict[str, float]
    trials: tuple[TriedTold, ...]


class TimeTold(Told):
    """The share of the baseline's time that a contender takes, the mean over its seeds."""

    runtime: str
    batch: int
    left: float


class ContenderTold(Told):
    """A contender of a comparison; every figure is the mean over the seeds that came through.

    Attributes:
        name: its name; that of the model before any step is `baseline`.
        steps: its steps, in words.
        seeds: how many seeds came through.
        quality: accuracy, or R2 of a number, of the exported file on the test rows.
        parameters: how many weights the model has.
        macs: the multiply-adds of one sample.
        bytes: the size of the exported file.
        times: how long it takes, against the baseline in the same race.
        failures: what went wrong.
    """

    name: str
    steps: str
    seeds: int
    quality: float | None
    parameters: float | None
    macs: float | None
    bytes: float | None
    times: tuple[TimeTold, ...]
    failures: tuple[str, ...]


class CompareTold(Told):
    """What `secateur compare --json` prints.

    Attributes:
        name: the recipe's name.
        folder: the folder of the comparison.
        page: the interactive page.
        record: the file that holds every seed by itself.
        headline: what the comparison comes to.
        measure: what `quality` is: `accuracy` or `r2`.
        contenders: the figures of each, the baseline first.
    """

    name: str
    folder: str
    page: str
    record: str
    headline: str
    measure: str
    contenders: tuple[ContenderTold, ...]


class ExportTold(Told):
    """What `secateur export --json` prints.

    Attributes:
        artifact: the folder that was made.
        bytes: the size of the ONNX file.
        max_difference: the largest difference between its outputs and the Keras model's.
        rows: on how many rows that was found.
        contract: whether it has a contract, without which it cannot score raw data.
        notes: what was mended in the model file when it was loaded.
    """

    artifact: str
    bytes: int
    max_difference: float
    rows: int
    contract: bool
    notes: tuple[str, ...]


class ReportTold(Told):
    """What `secateur report --json` prints: the file that was written."""

    report: str


class LogTold(Told):
    """What `secateur log --json` prints.

    Attributes:
        name: the recipe's name.
        finished: whether the run had come to its end; else what it had finished was logged.
        figures: how many values were logged.
        tensorboard: the file of events; with `--tensorboard` alone.
        mlflow: the identity of the run that MLflow made; with `--mlflow` alone.
    """

    name: str
    finished: bool
    figures: int
    tensorboard: str | None
    mlflow: str | None


class DemoTold(Told):
    """What `secateur demo --json` prints: the run, and the tally of scoring its pictures."""

    run: RunTold
    tally: Tally


class PackageTold(Told):
    """A package: its version (`null` where it is not installed), what for, and what gets it."""

    name: str
    version: str | None
    purpose: str
    needed: bool
    install: str


class DoctorTold(Told):
    """What `secateur doctor --json` prints.

    Attributes:
        secateur: the version.
        python: the version of Python.
        system: the operating system and the machine's kind.
        processor: the processor's name.
        cores: how many cores this process may use.
        memory: how many bytes of memory this process may use; `null` where that is not told.
        free: how many bytes are free where the current folder is.
        backend: what Keras computes with.
        runtimes: the runtimes that are installed, which models can be timed and scored on.
        packages: what is installed and what is not.
        problems: what keeps secateur from its work here; none where it is fit.
        widths: for each runtime, in blocks of how many input and output channels it computes
            convolutions; `null` where that was not asked for.
    """

    secateur: str
    python: str
    system: str
    processor: str
    cores: int
    memory: int | None
    free: int
    backend: str
    runtimes: tuple[str, ...]
    packages: tuple[PackageTold, ...]
    problems: tuple[str, ...]
    widths: dict[str, tuple[int, int]] | None = None
