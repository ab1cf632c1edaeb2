"""The trials of an exploration, kept by Optuna: in memory, or in a file that outlives a crash.

A trial counts when it was told to be done or refused. One that was broken off does not: it stays
in the file as failed, and the next one that is asked for takes its place.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from secateur.errors import MissingExtraError, OutputError
from secateur.files import lock

if TYPE_CHECKING:
    import optuna

NAME = "secateur"
IDENTITY = "secateur"
_ELSEWHERE = "Name another file."
_OTHER = {"data": "other data", "objectives": "other objectives"}


def need_optuna() -> Any:
    """Return the module of Optuna.

    Raises:
        MissingExtraError: it is not installed; the extra that installs it is named.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise MissingExtraError(
            "the package optuna is not installed, and the search is in it.",
            where="explore",
            mend="Run `pip install 'secateur[search]'`.",
        ) from error


class Study:
    """Trials, asked for one after the other.

    The settings of a trial are drawn by a sampler of its own, whose seed is a function of the
    study's seed and of how many trials count. Optuna keeps no state of its samplers, and this one
    needs none, so that a search that was broken off goes on as it would have gone.

    Args:
        study: Optuna's study.
        seed: gives the settings that are drawn.
    """

    def __init__(self, study: optuna.Study, seed: int):
        self._optuna = need_optuna()
        self._study = study
        self._seed = seed
        self._states = self._optuna.trial.TrialState
        for trial in study.get_trials(states=(self._states.RUNNING,)):
            study.tell(trial.number, state=self._states.FAIL)

    @property
    def counted(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that count, in order."""
        return self._study.get_trials(states=(self._states.COMPLETE, self._states.PRUNED))

    def ask(self) -> optuna.Trial:
        """Return the next trial."""
        sequence = np.random.SeedSequence([self._seed, len(self.counted)])
        seed = int(sequence.generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        return self._study.ask()

    def done(self, trial: optuna.Trial, values: Sequence[float]) -> None:
        """Count a trial whose model was judged."""
        self._study.tell(trial, list(values))

    def refused(self, trial: optuna.Trial, why: str) -> None:
        """Count a trial whose settings gave no model; the sampler takes them for bad ones."""
        trial.set_user_attr("why", why)
        self._study.tell(trial, state=self._states.PRUNED)

    def broken(self, trial: optuna.Trial, why: str) -> None:
        """Leave a trial that is not to count."""
        trial.set_user_attr("why", why)
        self._study.tell(trial, state=self._states.FAIL)


@contextmanager
def opened(
    path: Path | None, identity: Mapping[str, Any], maximise: Sequence[bool], seed: int
) -> Iterator[Study]:
    """Yield the study of a file, made if there is none, for this process alone.

    Args:
        path: the file, a journal of Optuna; `None` keeps the trials in memory.
        identity: what the trials belong to: a study of anything else is refused.
        maximise: for each objective, whether higher is better.
        seed: see `Study`.

    Raises:
        MissingExtraError: Optuna is not installed.
        OutputError: the file cannot be written, is no journal, is in use, or is of another search.
    """
    optuna = need_optuna()
    directions = ["maximize" if each else "minimize" for each in maximise]
    if path is None:
        yield Study(_made(optuna, optuna.storages.InMemoryStorage(), directions), seed)
        return
    with _held(path) as file:
        _drop_cut_line(file, path)
        try:
            study = _made(optuna, _storage(optuna, path), directions)
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise _unreadable(path) from error
        _check_identity(study, identity, path)
        yield Study(study, seed)


@contextmanager
def _held(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, and keep other searches off it until the block ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise OutputError(
            f"the study cannot be written: {error.strerror or error}.",
            where=path,
            mend="Choose a file in a folder that can be written.",
        ) from error
    with file:
        if not lock(file):
            raise OutputError(
                "another process is searching with this study.",
                where=path,
                mend="Wait until it ends, or name another file.",
            )
        # What a process left behind that was killed while it wrote: nobody else writes now.
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
        yield file


def _drop_cut_line(file: IO[bytes], path: Path) -> None:
    """Remove a last line that a crash cut short: Optuna would append to it.

    Raises:
        OutputError: the file is no journal; it is left as it is.
    """
    file.seek(0)
    content = file.read()
    if not content:
        return
    try:
        known = "op_code" in dict(json.loads(content.partition(b"\n")[0]))
    except (ValueError, TypeError):
        known = False
    if not known:
        raise _unreadable(path)
    end = content.rfind(b"\n") + 1
    if end < len(content):
        file.truncate(end)


def _storage(optuna: Any, path: Path) -> Any:
    journal = optuna.storages.journal
    # The other kind of lock is a symbolic link, which Windows does not let everybody make.
    lock_file = journal.JournalFileOpenLock(str(path))
    return optuna.storages.JournalStorage(journal.JournalFileBackend(str(path), lock_file))


def _unreadable(path: Path) -> OutputError:
    return OutputError(
        "the file is no journal of Optuna, or is damaged.", where=path, mend=_ELSEWHERE
    )


def _made(optuna: Any, storage: Any, directions: list[str]) -> optuna.Study:
    """Return the study of a storage, made if there is none."""
    # Optuna tells of every study that it makes; its level is the user's, and is put back.
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        return optuna.create_study(
            storage=storage, study_name=NAME, directions=directions, load_if_exists=True
        )
    finally:
        optuna.logging.set_verbosity(level)


def _check_identity(study: optuna.Study, identity: Mapping[str, Any], path: Path) -> None:
    """Write what a new study belongs to, or compare it with what it was made for."""
    plain = json.loads(json.dumps(dict(identity)))
    kept = study.user_attrs.get(IDENTITY)
    if kept is None and not study.get_trials():
        study.set_user_attr(IDENTITY, plain)
        return
    names = [name for name in plain if not kept or kept.get(name) != plain[name]]
    if not names:
        return
    asked = ""
    if kept and names == ["objectives"]:
        asked = f" ({', '.join(kept['objectives'])}; asked for {', '.join(plain['objectives'])})"
    other = " and ".join(_OTHER.get(name, f"another {name}") for name in names)
    raise OutputError(
        f"the study was made for {other}{asked}.",
        where=path,
        mend="Name another file, or delete it to search from the start.",
    )
