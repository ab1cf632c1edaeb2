"""The exported files of a comparison, timed in turn, and the memory that each takes.

All functions here keep what they measured in the comparison's folder, under the hashes of the
files, and measure a file again only where it has changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from secateur.cost.apart import race_apart
from secateur.cost.memory import peak_memory
from secateur.cost.race import ratio
from secateur.cost.runtimes import TITLE
from secateur.errors import SecateurError
from secateur.formats.artifact import sha256
from secateur.job.folder import RunFolder
from secateur.job.start import Say
from secateur.recipe.sections import MeasureSection
from secateur.reporting.comparison import Timing, Trial, Written

Trials = dict[str, list[Trial]]


def measured(
    trials: Trials,
    base: str,
    runtimes: Sequence[str],
    asked: MeasureSection,
    folder: RunFolder,
    say: Say,
) -> Trials:
    """Return trials with the timings and the memory of their files.

    Args:
        trials: by name.
        base: the name of the one that all are compared with.
        runtimes: where to measure.
        asked: batch sizes, threads, and how long two files are timed.
        folder: keeps what was measured.
        say: told one line for each race.
    """
    for runtime in runtimes:
        paths = {
            f"{name} {index}": folder.path / file.file
            for name, each in trials.items()
            for index, trial in enumerate(each)
            if (file := trial.on(runtime)) is not None
        }
        hashes = {key: sha256(path) for key, path in paths.items()}
        memory = _memory(paths, hashes, runtime, asked, folder, say)
        trials = _changed(trials, runtime, {key: {"memory": each} for key, each in memory.items()})
        for batch in asked.batches:
            timings, failures = _race(
                paths, hashes, f"{base} 0", runtime, batch, asked, folder, say
            )
            before = {k: _file(trials, k, runtime).timings for k in timings}
            trials = _changed(
                trials,
                runtime,
                {key: {"timings": (*before[key], each)} for key, each in timings.items()}
                | {key: {"failure": why} for key, why in failures.items()},
            )
            for key in failures:
                paths.pop(key)
    return trials


def _file(trials: Trials, key: str, runtime: str) -> Written:
    name, _, index = key.rpartition(" ")
    return next(w for w in trials[name][int(index)].written if w.runtime == runtime)


def _changed(trials: Trials, runtime: str, changes: Mapping[str, Mapping[str, object]]) -> Trials:
    """Return trials with changed fields in their files for a runtime."""
    made = {name: list(each) for name, each in trials.items()}
    for key, fields in changes.items():
        name, _, index = key.rpartition(" ")
        trial = made[name][int(index)]
        files = tuple(
            w.model_copy(update=dict(fields)) if w.runtime == runtime else w for w in trial.written
        )
        made[name][int(index)] = trial.model_copy(update={"written": files})
    return made


def _memory(
    paths: Mapping[str, Path],
    hashes: Mapping[str, str],
    runtime: str,
    asked: MeasureSection,
    folder: RunFolder,
    say: Say,
) -> dict[str, int | None]:
    """Return what running each file takes, at the largest batch."""
    batch = max(asked.batches)
    name = f"memory {runtime} {batch} {asked.threads}"
    known: dict[str, int | None] = dict(folder.get(name, {}))
    if missing := [key for key in paths if hashes[key] not in known]:
        say(f"memory     {len(missing)} files in {TITLE[runtime]}, batch {batch}")
    for key in missing:
        try:
            taken = peak_memory(paths[key], runtime, batch=batch, threads=asked.threads)
        except SecateurError as error:
            say(f"warning    {error}")
            taken = None
        known[hashes[key]] = taken
        folder.put(name, known)
    return {key: known[hashes[key]] for key in paths}


def _race(
    paths: Mapping[str, Path],
    hashes: Mapping[str, str],
    base: str,
    runtime: str,
    batch: int,
    asked: MeasureSection,
    folder: RunFolder,
    say: Say,
) -> tuple[dict[str, Timing], dict[str, str]]:
    """Time files in turn; return timings, and the failures of those that do not run, by key."""
    name = f"race {runtime} {batch}"
    told = [asked.threads, asked.seconds, {key: hashes[key] for key in paths}]
    kept = folder.get(name)
    if kept is not None and kept["asked"] == told:
        return {k: Timing.model_validate(v) for k, v in kept["timings"].items()}, kept["failures"]
    left, failures, taken = dict(paths), {}, {}
    while left and not taken:
        say(f"race       {len(left)} files in {TITLE[runtime]}, batch {batch}")
        try:
            taken = race_apart(
                left,
                runtime=runtime,
                batch=batch,
                threads=asked.threads,
                seconds=asked.seconds * len(left) / 2,
            )
        except SecateurError as error:
            # One that does not run is named by the error; the others race without it.
            key = next((k for k, p in left.items() if error.where in (k, str(p))), None)
            if key is None:
                raise
            failures[key] = str(error)
            del left[key]
    timings = {
        key: Timing(
            batch=batch,
            threads=asked.threads,
            median_ms=each.median_ms,
            left=ratio(taken[base], each) if base in taken else None,
        )
        for key, each in taken.items()
    }
    shown = {key: each.model_dump() for key, each in timings.items()}
    folder.put(name, {"asked": told, "timings": shown, "failures": failures})
    return timings, failures
