"""How a job begins: the data is read, the model loaded or built, and the baseline trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from secateur.cost.measure import measure
from secateur.data.read import read
from secateur.errors import ModelError
from secateur.evaluation.evaluate import evaluate
from secateur.evaluation.metrics import Metrics
from secateur.graph.functional import laid_out
from secateur.job import account
from secateur.job.early import check_trainings
from secateur.models.build import build
from secateur.models.fits import check_fits, image_size
from secateur.models.load import load_model, load_model_with_notes
from secateur.recipe.sections import TrainSection
from secateur.steps.training import fit

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.job.folder import RunFolder
    from secateur.recipe.recipe import Recipe
    from secateur.reporting import record

Say = Callable[[str], None]


class Start:
    """The beginning of a job, and what is known so far."""

    def __init__(self, recipe: Recipe, folder: RunFolder, say: Say, verbose: bool):
        self.recipe = recipe
        self.folder = folder
        self.say = say
        self.verbose = verbose
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def begin(self) -> tuple[keras.Model, Dataset]:
        """Return the baseline, which is trained at most once, and the data."""
        model, loaded = self.start_model()
        data = self.read(model)
        if model is None:
            model = self.build(data)
        check_fits(model, data.contract, where=self.recipe.model_path)
        self.folder.begin(data.fingerprint)
        return self.baseline(model, data, loaded), data

    def start_model(self) -> tuple[keras.Model | None, bool]:
        """Return the model to load, if the recipe loads one."""
        path = self.recipe.model_path
        if path is None:
            return None, False
        model, mended = load_model_with_notes(path)
        for note in mended:
            self.notes.append(note)
            self.say(f"loaded     {note}")
        return laid_out(model), True

    def read(self, model: keras.Model | None) -> Dataset:
        """Read the data; a loaded model says how large images are where the recipe does not."""
        arguments = self.recipe.data.arguments()
        del arguments["source"]
        size = image_size(model) if model is not None else None
        if size is not None and Path(self.recipe.source).is_dir():
            if arguments["image_size"] is None:
                arguments["image_size"] = size[:2]
            arguments["mode"] = arguments["mode"] or size[2]
        data = read(self.recipe.source, seed=self.recipe.seed, **arguments)
        rows = " + ".join(f"{each.rows:,}" for each in (data.train, data.validation, data.test))
        self.say(f"read       {rows} rows to train, validate and test on")
        for note in data.notes:
            self.say(f"           {note}")
        if self.recipe.train is not None:
            check_trainings([self.recipe.train], data)
        return data

    def build(self, data: Dataset) -> keras.Model:
        """Build the model that the recipe names."""
        builder = self.recipe.builder()
        if builder is None:
            target = None
            if data.contract.task == "regression":
                target = data.train.moments()
            return build(
                data.contract,
                width=self.recipe.model.width,
                seed=self.recipe.seed,
                target=target,
            )
        made = builder(data.contract)
        if not isinstance(made, keras.Model):
            raise ModelError(
                f"{self.recipe.model.build} gave a {type(made).__name__}, not a keras.Model.",
                where="model.build",
                mend="Return a keras.Model.",
            )
        return laid_out(made)

    def baseline(self, model: keras.Model, data: Dataset, loaded: bool) -> keras.Model:
        """Train the model, unless it was loaded and the recipe trains nothing; measure it."""
        folder = self.folder
        if folder.has("baseline"):
            self.say("baseline   done before")
            self.warn_near_chance()
            return load_model(folder.baseline)
        start = time.perf_counter()
        if not loaded or self.recipe.train is not None:
            section = self.recipe.train or TrainSection()
            model, curve = fit(
                model,
                data,
                checkpoint=folder.checkpoint("train"),
                resume=True,
                seed=self.recipe.seed,
                verbose=self.verbose,
                **section.arguments(),
            )
            folder.put("baseline curves", [{"stage": "baseline", "metrics": curve.metrics}])
        folder.save(model, folder.baseline)
        found = evaluate(model, data.test)
        stage = account.stage(
            "baseline",
            "Baseline",
            metrics=found,
            cost=measure(model),
            seconds=time.perf_counter() - start,
        )
        folder.put("baseline metrics", found.model_dump(mode="json"))
        self.keep("baseline", [stage])
        folder.forget("train")
        self.say(f"baseline   {found.summary()}")
        self.warn_near_chance()
        return model

    def warn_near_chance(self) -> None:
        """Warn of a baseline that knows nothing: what follows would prove nothing."""
        found = Metrics.model_validate(self.folder.get("baseline metrics"))
        if not found.near_chance:
            return
        name, value = found.headline
        cause = (
            "it may expect its inputs scaled in another way than the data gives them"
            if self.recipe.model_path is not None and self.recipe.train is None
            else "the columns may not tell the target, or it needs more epochs"
        )
        self.warnings.append(f"The baseline is near chance ({name} {value:.3f}): {cause}.")
        self.say(f"warning    {self.warnings[-1]}")

    def keep(self, name: str, stages: list[record.Stage]) -> None:
        """Keep the stages that a part of the job went through."""
        self.folder.put(name, [stage.model_dump(mode="json") for stage in stages])
