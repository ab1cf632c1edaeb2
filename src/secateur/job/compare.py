"""`compare`: contenders from one and the same trained model, measured side by side.

out/
  state.json      what is done: the same command goes on from here
  baseline.keras  what every contender starts from
  contenders/     a folder for each contender and seed (see `secateur.job.contender`)
  compare.json    the record
  compare.html    the page
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import secateur
from secateur.cost.runtimes import RUNTIMES, TITLE, check_runtime, version_of
from secateur.errors import MissingExtraError, ModelError
from secateur.files import write_whole
from secateur.job import account
from secateur.job.contender import OUTPUT, Order
from secateur.job.folder import RunFolder, disk_errors
from secateur.job.processes import carry_out
from secateur.job.start import Say, Start
from secateur.job.timing import measured
from secateur.machine import cores
from secateur.recipe.contenders import contenders
from secateur.recipe.recipe import Recipe
from secateur.recipe.sections import CompareSection
from secateur.reporting.compared import page
from secateur.reporting.comparison import Comparison, Entrant, Trial

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

BASELINE = "baseline"


def compare(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    jobs: int | None = None,
    progress: Say | None = None,
    verbose: bool = False,
    command: str = "",
    modules: Sequence[str] = (),
) -> Comparison:
    """Run the contenders of a recipe from the same baseline, and measure them side by side.

    Each contender runs once for each seed, in a process of its own. What is finished stays in
    `out`, and a second call with it goes on from there. A contender that fails stops no other.

    Args:
        recipe: the recipe, or its file; its section `compare` names contenders, seeds and runtimes.
        out: the folder to make, or to go on with.
        jobs: how many contenders run at the same time; by default one for every four cores.
        progress: told one line for each thing that is done.
        verbose: show a bar while the baseline trains.
        command: what was typed, for the page.
        modules: modules to import in each process, with layers or rules of the user's own.

    Returns:
        The record, as it stands in `compare.json`.

    Raises:
        SecateurError: there is no baseline to start from, or the folder cannot be written.
    """
    begun = time.perf_counter()
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe)
    section = recipe.compare or CompareSection()
    runtimes = runtimes_of(section)
    asked = contenders(recipe)
    say = progress or (lambda line: None)
    folder = RunFolder(out, recipe.start, resume=True)
    with disk_errors(folder.path, "with the same command"), folder.held():
        start = Start(recipe.start, folder, say, verbose)
        baseline, data = start.begin()
        _note_output(folder, baseline, data)
        write_whole(folder.path / "compare.yaml", recipe.to_yaml())
        summary = account.summary(data)
        del baseline, data
        orders = orders_of(recipe, folder, runtimes, modules)
        trials = carry_out(orders, at_once(jobs), lambda order, trial: say(_line(order, trial)))
        if trials[BASELINE][0].failure:
            raise ModelError(
                f"the baseline cannot be measured: {trials[BASELINE][0].failure}", where=out
            )
        trials = measured(trials, BASELINE, runtimes, recipe.measure, folder, say)
        spent = folder.get("seconds", 0.0) + time.perf_counter() - begun
        folder.put("seconds", spent)
        made = Comparison(
            name=recipe.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            secateur=secateur.__version__,
            source=summary.source,
            asked=_asked(section),
            data=summary,
            runtimes=runtimes,
            batches=recipe.measure.batches,
            threads=recipe.measure.threads,
            memory_batch=max(recipe.measure.batches),
            baseline=Entrant(name=BASELINE, trials=tuple(trials[BASELINE])),
            entrants=tuple(
                Entrant(name=each.name, steps=each.told, trials=tuple(trials[each.name]))
                for each in asked
            ),
            warnings=tuple(start.warnings),
            environment=account.environment()
            | {TITLE[runtime]: version_of(runtime) for runtime in runtimes},
            recipe=recipe.to_yaml(),
            command=command,
            seconds=spent,
        )
        made.save(folder.path)
        page(made, folder.path)
    return made


def orders_of(
    recipe: Recipe, folder: RunFolder, runtimes: tuple[str, ...], modules: Sequence[str] = ()
) -> list[Order]:
    """Return what processes are to do: measure the baseline, and each contender with each seed."""
    common: dict[str, Any] = {
        "runtimes": runtimes,
        "out": str(folder.path.resolve()),
        "recipe": recipe.tree(),
        "home": str(recipe.folder.resolve()),
        "modules": tuple(modules),
    }
    seeds = (recipe.compare or CompareSection()).seeds
    return [
        Order(name=BASELINE, seed=recipe.seed, entries=(), **common),
        *(
            Order(name=each.name, seed=seed, entries=each.entries, **common)
            for seed in seeds
            for each in contenders(recipe)
        ),
    ]


def at_once(jobs: int | None) -> int:
    """Return how many contenders run at the same time."""
    return jobs or max(1, cores() // 4)


def runtimes_of(section: CompareSection) -> tuple[str, ...]:
    """Return the runtimes that a comparison measures in.

    Raises:
        MissingExtraError: one that is named is not installed.
    """
    found = section.runtimes or installed()
    for runtime in found:
        check_runtime(runtime)
    return found


def installed() -> tuple[str, ...]:
    """Return the runtimes that are installed."""
    found = []
    for runtime in RUNTIMES:
        try:
            check_runtime(runtime)
        except MissingExtraError:
            continue
        found.append(runtime)
    return tuple(found)


def _note_output(folder: RunFolder, baseline: keras.Model, data: Dataset) -> None:
    """Keep what the baseline's output is: no step changes that."""
    if folder.has(OUTPUT):
        return
    import onnx

    from secateur.formats.onnx import to_onnx
    from secateur.formats.signature import output_kind

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "baseline.onnx"
        to_onnx(baseline, path)
        folder.put(OUTPUT, output_kind(onnx.load(path), data.contract))


def _asked(section: CompareSection) -> dict[str, str]:
    told = {"Seeds": ", ".join(map(str, section.seeds))}
    if section.contenders is None or None in section.contenders.values():
        told = {
            "Budget": f"at most {section.macs:.0%} of the baseline's multiply-accumulates, for "
            "contenders that take one",
            "Training": f"{section.epochs} epochs each",
            **told,
        }
    return told


def _line(order: Order, trial: Trial) -> str:
    """Return one line of what came out of an order."""
    seed = "" if order.name == BASELINE else f", seed {order.seed}"
    if trial.failure:
        return f"failed     {order.name}{seed}: {trial.failure}"
    told = []
    for each in trial.written:
        if each.failure:
            told.append(f"not in {TITLE[each.runtime]}: {each.failure}")
        elif each.metrics is not None and not told:
            share = each.metrics.accuracy
            told.append(
                f"accuracy {share:.1%}" if share is not None else f"R2 {each.metrics.r2:.3f}"
            )
    return f"done       {order.name}{seed}: {'; '.join(told)}"
