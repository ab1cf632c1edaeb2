"""`run`: a recipe from raw data to a report. What is done is kept, and not done twice."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import secateur
from secateur.cost.cost import Latency
from secateur.cost.measure import measure
from secateur.cost.race import race
from secateur.cost.worth import worth
from secateur.errors import ArtifactError, ModelError, SecateurError
from secateur.evaluation.evaluate import evaluate, predict
from secateur.evaluation.metrics import metrics
from secateur.formats.artifact import Artifact
from secateur.formats.grids import Quantization
from secateur.formats.onnx import export
from secateur.formats.predictor import Predictor
from secateur.job import account
from secateur.job.early import check_groups, check_trainings
from secateur.job.folder import RunFolder, disk_errors
from secateur.job.handing import hand_over
from secateur.job.judging import judge
from secateur.job.start import Say, Start
from secateur.models.load import load_model
from secateur.planning.plan import Plan
from secateur.recipe.recipe import Recipe
from secateur.reporting import record
from secateur.reporting.report import report
from secateur.steps.distributed import check_workers
from secateur.steps.result import perform

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset

_PARITY_ROWS = 64
# Integers are compared by their answers, of which one in a hundred may differ.
_AGREEMENT_ROWS = 512
_TITLES = {
    "cut": "After the cut",
    "rewound": "Cut and rewound",
    "healed": "Healed",
    "fine-tuned": "Fine-tuned",
    "sparse": "With zeros",
    "regularized": "Regularized",
    "factorized": "Low rank",
    "quantized": "Weights on int8 grids",
}


def run(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Say | None = None,
    verbose: bool = False,
    command: str = "",
) -> record.Run:
    """Do what a recipe asks: read, train or load, cut, heal, tune, measure, export and report.

    Args:
        recipe: the recipe, or its file.
        out: the folder of the run.
        resume: go on with a run of the same recipe that was broken off.
        progress: told one line for each thing that is done.
        verbose: show a bar while a model trains.
        command: what was typed, for the report.

    Returns:
        The record of the run, as it stands in `run.json`.

    Raises:
        SecateurError: something that the user can mend; what is done is kept for `resume`.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    folder = RunFolder(out, recipe, resume=resume)
    with disk_errors(folder.path), folder.held():
        return _Job(recipe, folder, progress or (lambda line: None), verbose).run(command)


class _Job(Start):
    """One run: what is known so far, and the stages in their order."""

    def run(self, command: str) -> record.Run:
        start = time.perf_counter()
        steps = self.recipe.chain
        check_workers(steps)
        baseline, data = self.begin()
        final = baseline
        for index, step in enumerate(steps):
            final = self.step(index, step, final, data, baseline)
        if not self.folder.model.exists():
            self.folder.save(final, self.folder.model)
        made = self.record(baseline, final, data, command)
        spent = self.folder.get("seconds", 0.0) + time.perf_counter() - start
        self.folder.put("seconds", spent)
        made = made.model_copy(update={"seconds": spent})
        made.save(self.folder.path)
        hand_over(self.folder.artifact, made, report(self.folder.path))
        return made

    def read(self, model: keras.Model | None) -> Dataset:
        """Read the data, and look for what will be asked of it, before any training."""
        data = super().read(model)
        check_groups(self.recipe, data)
        check_trainings(self.recipe.chain, data)
        return data

    def step(
        self, index: int, step: Any, model: keras.Model, data: Dataset, teacher: keras.Model
    ) -> keras.Model:
        """Do one step and measure every stage that it went through."""
        name = f"step {index + 1}"
        kept = self.folder.checkpoint(f"step-{index + 1}.keras")
        if self.folder.has(name) and kept.exists():
            self.say(f"{name}     done before")
            return load_model(kept)
        settings = {
            "checkpoint": str(self.folder.checkpoint(f"step-{index + 1}")),
            "resume": True,
            "verbose": self.verbose,
        }
        known = {field.name for field in dataclasses.fields(step)}
        given = {key: value for key, value in settings.items() if key in known}
        result = perform(dataclasses.replace(step, **given), model, data, teacher)
        made = []
        for each in result.stages:
            found = evaluate(each.model, data.test)
            made.append(
                account.stage(
                    each.name,
                    self.title(each.name),
                    metrics=found,
                    cost=measure(each.model),
                    seconds=each.seconds,
                )
            )
            self.say(f"{each.name:<10} {found.summary()}")
        self.folder.save(result.model, kept)
        self.folder.put(f"{name} plans", [plan.to_json() for plan in result.plans])
        self.folder.put(
            f"{name} curves",
            [{"stage": title, "metrics": curve.metrics} for title, curve in result.curves],
        )
        self.folder.put(f"{name} notes", [str(note) for note in result.notes])
        integers = result.quantization
        self.folder.put(f"{name} integers", None if integers is None else integers.to_json())
        self.folder.put(f"{name} sensitivity", account.sensitivity(result.sensitivities))
        self.folder.put(f"{name} tried", account.tried(result, step))
        self.keep(name, made)
        self.folder.forget(f"step-{index + 1}")
        return result.model

    def title(self, name: str) -> str:
        """Return the title of a stage; the second of a name gets its number."""
        base = _TITLES.get(name, name[:1].upper() + name[1:])
        seen = sum(stage.title.startswith(base) for stage in self.all_stages())
        return f"{base} {seen + 1}" if seen else base

    def stages(self, name: str) -> list[record.Stage]:
        return [record.Stage.model_validate(each) for each in self.folder.get(name, [])]

    def all_stages(self) -> list[record.Stage]:
        return [stage for name in self.parts for stage in self.stages(name)]

    def facts(self, kind: str) -> list[Any]:
        """Return what baseline and steps have noted of a kind, in order."""
        return [each for name in self.parts for each in self.folder.get(f"{name} {kind}", [])]

    @property
    def parts(self) -> list[str]:
        """The names under which baseline and steps keep what they did."""
        return ["baseline", *(f"step {i + 1}" for i in range(len(self.recipe.steps)))]

    def integers(self, model: keras.Model) -> Quantization | None:
        """Return the grids of the last step's weights, if it made any and integers pay."""
        told = self.folder.get(f"{self.parts[-1]} integers")
        if told is None:
            return None
        made, asked = Quantization.from_json(told), self.recipe.measure
        try:
            found = worth(
                model, made, batch=max(asked.batches), threads=asked.threads, seconds=asked.seconds
            )
        except (ArtifactError, ModelError) as error:
            return self.refused(error)
        self.notes.append(f"export: {found}")
        self.say(f"int8       {found}")
        return made if found.pays else None

    def refused(self, error: SecateurError) -> None:
        """Say why there are no integers: the work of all steps is not lost over it."""
        self.warnings.append(f"Float32 is exported, as there is no int8 file: {error}")
        self.say(f"int8       {error.what} Float32 is exported.")

    def export(
        self,
        model: keras.Model,
        path: Path,
        name: str,
        data: Dataset,
        stage: record.Stage,
        *,
        final: bool = False,
    ) -> Artifact:
        """Export a model, unless that is done; the final one in integers where they pay."""
        if path.exists():
            return Artifact.open(path)

        def written(integers: Quantization | None) -> Artifact:
            rows = _PARITY_ROWS if integers is None else _AGREEMENT_ROWS
            return export(
                model,
                path,
                contract=data.contract,
                sample=data.test.sample(rows, seed=self.recipe.seed)[0],
                name=name,
                metrics=stage.metrics,
                cost={"parameters": stage.parameters, "macs": stage.macs, "bytes": stage.bytes},
                recipe=self.recipe.to_yaml(),
                data_fingerprint=data.fingerprint,
                tolerance=self.recipe.export.tolerance,
                quantization=integers,
            )

        integers = self.integers(model) if final else None
        if integers is not None:
            try:
                return written(integers)
            except (ArtifactError, ModelError) as error:
                self.refused(error)
        return written(None)

    def race(self, baseline: Artifact, final: Artifact) -> dict[str, list[Latency]]:
        """Time the two exported files side by side."""
        asked = self.recipe.measure
        paths = {"baseline": baseline.model_path, "final": final.model_path}
        times: dict[str, list[Latency]] = {name: [] for name in paths}
        for batch in asked.batches:
            found = race(paths, batch=batch, threads=asked.threads, seconds=asked.seconds)
            for name, latency in found.items():
                times[name].append(latency)
            before, after = (found[name].median_ms for name in paths)
            self.say(
                f"race       batch {batch}: {before:.3f} ms before, {after:.3f} ms after, "
                f"{before / after:.2f} times as fast"
            )
        return times

    def record(
        self, baseline: keras.Model, final: keras.Model, data: Dataset, command: str
    ) -> record.Run:
        """Export, check the exported files on the test rows, race them, and write it all down."""
        folder, contract = self.folder, data.contract
        first, *later = self.all_stages()
        last = later[-1] if later else first
        name = self.recipe.name
        exported = {
            "baseline": self.export(
                baseline, folder.baseline_artifact, f"{name} baseline", data, first
            ),
            "final": self.export(final, folder.artifact, name, data, last, final=True),
        }
        answers: dict[str, np.ndarray] = {}
        truth = np.zeros(0)
        for key, artifact in exported.items():
            truth, answers[key] = predict(Predictor(artifact).predict, data.test)
        found = metrics(truth, answers["final"], contract)
        self.say(f"exported   {found.summary()}")
        judged = judge(self.recipe, data, truth, exported, answers, first.macs, last.macs)
        for line in judged.lines:
            self.say(f"{line}")
        times = self.race(exported["baseline"], exported["final"])
        first = first.model_copy(
            update={
                "latencies": account.latency_views(times["baseline"]),
                "file_bytes": exported["baseline"].model_path.stat().st_size,
            }
        )
        done = account.stage(
            "exported",
            "Exported",
            metrics=found,
            cost=None,
            file_bytes=exported["final"].model_path.stat().st_size,
            latencies=times["final"],
            note="the ONNX file itself, in ONNX Runtime",
        )
        plans = [Plan.from_json(each) for each in self.facts("plans")]
        return record.Run(
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            secateur=secateur.__version__,
            source=data.source,
            asked=account.asked(self.recipe),
            data=account.summary(data),
            stages=(first, *later, done),
            layers=account.layers(baseline, final),
            network=account.network(baseline, final),
            groups=account.groups(baseline, plans),
            tried=tuple(map(record.Tried.model_validate, self.facts("tried"))),
            notes=(*self.notes, *self.facts("notes")),
            warnings=tuple(self.warnings),
            curves=tuple(_curve(each) for each in self.facts("curves")),
            sensitivity=tuple(map(record.Sensitivity.model_validate, self.facts("sensitivity"))),
            samples=account.samples(
                data.test, answers["baseline"], answers["final"], truth, seed=self.recipe.seed
            ),
            robustness=judged.view,
            environment=account.environment(),
            recipe=self.recipe.to_yaml(),
            command=command,
        )


def _curve(told: Mapping[str, Any]) -> record.Curve:
    return record.Curve(
        stage=told["stage"], metrics={key: tuple(each) for key, each in told["metrics"].items()}
    )
