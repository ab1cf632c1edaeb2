"""One contender of a comparison with one seed, in a process of its own.

`python -m secateur.job.contender FOLDER` does what `order.json` in the folder says and writes
`outcome.json`. It leaves when its standard input is closed, as it is when its parent dies.

folder/
  order.json     what is to be done
  outcome.json   what came out, written last
  model.keras    the model that came out
  exported/      the file for each runtime
  log.txt        what the process printed
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from secateur.cost.runtimes import first_line, open_runner, write_for
from secateur.errors import ModelError, OutputError, SecateurError
from secateur.files import write_whole
from secateur.formats.artifact import QUANTIZATION
from secateur.formats.predictor import as_answer
from secateur.job.memory import keep_memory
from secateur.reporting.comparison import Trial, Written

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.evaluation.metrics import Metrics
    from secateur.steps.result import Result

ORDER = "order.json"
OUTCOME = "outcome.json"
LOG = "log.txt"
# The kind of the baseline's output, as a fact of the comparison's folder.
OUTPUT = "output"


class Order(BaseModel):
    """What a process is to do: steps with a seed, and the runtimes that the result is for.

    `home` is the folder that paths in `recipe` are relative to, `modules` are imported first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seed: int
    entries: tuple[Mapping[str, Any], ...]
    runtimes: tuple[str, ...]
    out: str
    recipe: dict[str, Any]
    home: str
    modules: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Return what the outcome depends on, beside the baseline and the data."""
        told = self.model_dump(mode="json", exclude={"out", "recipe", "home", "modules", "name"})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(self.out) / "contenders" / self.name / f"seed-{self.seed}"


class Outcome(BaseModel):
    """What came out of an order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    trial: Trial


def outcome_of(order: Order) -> Trial | None:
    """Return what came out of an order, if it is done."""
    try:
        text = (order.folder / OUTCOME).read_text(encoding="utf-8")
        found = Outcome.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return found.trial if found.identity == order.identity else None


def compete(order: Order) -> Trial:
    """Do the steps, write the result for every runtime, and measure the files on the test rows.

    Raises:
        SecateurError: a step cannot do what it is asked; one runtime that fails is told in its
            part of the trial alone.
    """
    from secateur.cost.measure import measure
    from secateur.job.folder import RunFolder
    from secateur.job.start import Start
    from secateur.recipe.recipe import Recipe
    from secateur.steps.result import Result

    if order.modules:
        sys.path.insert(0, os.getcwd())
    for module in order.modules:
        importlib.import_module(module)
    recipe = Recipe.of(order.recipe, order.home)
    run = RunFolder(order.out, recipe.start, resume=True)
    baseline, data = Start(recipe.start, run, print, verbose=False).begin()
    start = time.perf_counter()
    if order.entries:
        result = _stepped(recipe.steps_of(order.entries, order.seed), baseline, data, order.folder)
    else:
        cost = measure(baseline)
        result = Result(baseline, cost, cost)
    seconds = time.perf_counter() - start
    run.save(result.model, order.folder / "model.keras")
    if result.quantization is not None:
        write_whole(order.folder / QUANTIZATION, result.quantization.to_json())
    output = run.get(OUTPUT, "probabilities")
    return Trial(
        seed=order.seed,
        folder=order.folder.relative_to(order.out).as_posix(),
        parameters=result.after.parameters,
        macs=result.after.macs,
        written=tuple(_on(runtime, result, data, output, order) for runtime in order.runtimes),
        epochs=sum(curve.epochs for _, curve in result.curves),
        seconds=seconds,
        notes=tuple(map(str, result.notes)),
    )


def _stepped(steps: tuple[Any, ...], model: Any, data: Dataset, folder: Path) -> Result:
    """Do the steps; a training that was broken off goes on."""
    from secateur.steps.chain import chain

    kept = folder / "checkpoints"
    ready = []
    for index, step in enumerate(steps):
        known = {field.name for field in dataclasses.fields(step)}
        settings = {"checkpoint": str(kept / str(index)), "resume": True, "verbose": False}
        given = {key: value for key, value in settings.items() if key in known}
        ready.append(dataclasses.replace(step, **given))
    try:
        return chain(*ready)(model, data)
    except OutputError:
        if not kept.exists():
            raise
        # With another number of threads a cut model may differ from that of the checkpoint in its
        # last bits; the training then begins anew.
        shutil.rmtree(kept)
        return chain(*ready)(model, data)


def _on(runtime: str, result: Result, data: Dataset, output: str, order: Order) -> Written:
    """Write a result for a runtime, and measure what was written."""
    from secateur.job.account import view

    folder = order.folder / "exported" / runtime
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = write_for(result.model, runtime, folder, result.quantization)
        found = _quality(path, runtime, data, output)
        return Written(
            runtime=runtime,
            file=path.relative_to(order.out).as_posix(),
            bytes=path.stat().st_size,
            metrics=view(found),
        )
    except SecateurError as error:
        traceback.print_exc()
        return Written(runtime=runtime, failure=str(error))


def _quality(path: Path, runtime: str, data: Dataset, output: str) -> Metrics:
    """Return how good an exported file is on the test rows.

    Raises:
        ModelError: the runtime cannot run it.
    """
    from secateur.evaluation.evaluate import evaluate

    runner = open_runner(path, runtime)

    def predict(x: Any) -> np.ndarray:
        feed = {}
        for each in runner.inputs:
            # LiteRT calls the input `name` serving_default_name:0.
            name = each.name.removeprefix("serving_default_").partition(":")[0]
            array = np.asarray(x[name] if isinstance(x, Mapping) else x)
            feed[each.name] = np.ascontiguousarray(array, each.dtype)
        try:
            return as_answer(runner.run(feed)[0], output)
        except Exception as error:
            # The runtimes have no kinds of errors of their own that are public.
            raise ModelError(
                f"the exported file does not run: {first_line(error)}", where=path
            ) from error

    return evaluate(predict, data.test)


def main(folder: str) -> None:
    """Do what a folder's order says; whatever goes wrong is told in its outcome."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    order = Order.model_validate_json((Path(folder) / ORDER).read_text(encoding="utf-8"))
    try:
        keep_memory()
        trial = compete(order)
    except Exception as error:
        traceback.print_exc()
        known = isinstance(error, SecateurError)
        why = str(error) if known else f"{type(error).__name__}: {first_line(error)}"
        trial = Trial(
            seed=order.seed,
            folder=order.folder.relative_to(order.out).as_posix(),
            failure=why,
        )
    made = Outcome(identity=order.identity, trial=trial)
    write_whole(order.folder / OUTCOME, made.model_dump_json(indent=1))
    if not trial.failure:
        shutil.rmtree(order.folder / "checkpoints", ignore_errors=True)


def _leave_with_parent() -> None:
    # Read below Python's own buffer, which could not be closed while a thread waits on it.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
