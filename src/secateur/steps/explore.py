"""Explore: search freely over steps and their settings, by several objectives at once."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.errors import MissingExtraError, OutputError, PlanError, SecateurError
from secateur.files import write_whole
from secateur.graph.trace import trace
from secateur.graph.weights import to_numpy
from secateur.models.save import save_model
from secateur.steps.asked import check_dataset
from secateur.steps.chain import chain
from secateur.steps.explored import FILES, Explored, Tried, file_of, front_of, grids_of
from secateur.steps.objectives import Judge, check_objectives, judging, maximised, told
from secateur.steps.result import Result, Step
from secateur.steps.study import Study, need_optuna, opened

if TYPE_CHECKING:
    import keras
    import optuna

    from secateur.data.dataset import Dataset

Build = Callable[["optuna.Trial"], "Step | Sequence[Step]"]


def explore(
    model: keras.Model,
    data: Dataset,
    build: Build,
    *,
    objectives: Sequence[str] = ("accuracy", "macs"),
    trials: int = 50,
    study: str | Path | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    runtime: str = "onnxruntime",
    batch: int = 1,
    threads: int = 1,
) -> Explored:
    """Search over steps and their settings with Optuna; the best compromises are the front.

    Each trial carries out the steps that `build` makes, and judges the model on the validation
    rows. The test rows are not looked at. A trial whose step refuses what it is asked for (a budget
    that cannot be met) is recorded with its reason, and the search goes on.

    Settings are drawn by the tree-structured Parzen estimator, for several objectives as for one
    (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization"; Ozaki et al. 2022,
    "Multiobjective Tree-Structured Parzen Estimator"). Optuna's default for several objectives is
    NSGA-II, whose first generation of 50 is drawn at random: with trainings to be paid for, that is
    the whole search. The first 10 trials of the estimator are drawn at random.

    A search that was broken off, even killed, goes on with the same call. The trial that was under
    way does not count and is done again; what is drawn depends on the seed and the trials that
    count alone, so that resumed equals uninterrupted as far as the values are the same. They are
    with steps that give the same model again, as secateur's do, and without `latency`, which is
    measured anew. Of Optuna, that holds within one version.

    Args:
        model: a built model; it is untouched.
        data: the steps see its training rows, and validation rows judge.
        build: gives, for a trial of Optuna, a step or a tuple of steps made of what it suggests:
            `lambda trial: Prune(macs=trial.suggest_float("macs", 0.2, 0.8))`.
        objectives: metrics, which are maximised (`accuracy`, `balanced_accuracy`, `macro_f1`,
            `auc`, `r2`), and costs, which are minimised (`macs`, `parameters`, `bytes`, `latency`:
            a share of the whole model's, the two timed in turn).
        trials: how many trials there are to be, those of an earlier call of this study included.
        study: the file that keeps the trials, a journal of Optuna such as `search.journal`. The
            models of the front lie in a folder beside it, `search/`; those that fall behind are
            removed. `None` keeps all of it in memory.
        seed: gives what is drawn.
        progress: told one line for each trial.
        runtime: what `latency` is timed on: `onnxruntime`, `openvino` or `litert`.
        batch: with `latency`, the rows of one call.
        threads: with `latency`, the threads that one call may use.

    Returns:
        All trials, and the front with its models.

    Raises:
        MissingExtraError: Optuna, or what a step needs, is not installed.
        PlanError: an objective means nothing for the task, or `build` gives no step.
        DataError: there are no validation rows, or data is no Dataset.
        OutputError: the study is of another model, data or objectives, in use, or not writable.
        Exception: whatever `build` or a step raises that is no refusal, with a note of the trial.
    """
    names = check_objectives(objectives)
    judged = any(map(maximised, names))
    check_dataset(data, "a search gives its steps", "explore", model, labels=judged)
    need_optuna()
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise PlanError(
            f"trials must be at least 1, received {trials!r}.", where="explore", mend="Use 50."
        )
    path = None if study is None else _checked(Path(study))
    how = {"runtime": runtime, "batch": batch, "threads": threads}
    with (
        opened(path, _belongs(model, data, names, how), list(map(maximised, names)), seed) as kept,
        judging(model, data, names, **how) as (judge, whole),
    ):
        search = _Search(model, data, build, judge, names, whole, kept, path)
        search.restore()
        while (number := len(search.trials) + 1) <= trials:
            search.one()
            if progress is not None:
                progress(f"trial {number}/{trials}: {search.line()}")
        return Explored(names, whole, tuple(search.trials), search.folder, search.kept)


def counted(
    study: Path, model: keras.Model, data: Dataset, objectives: Sequence[str], **how: Any
) -> int:
    """Return how many trials of a study count already; the file is not touched.

    Args:
        study: the file, which is there.
        model: what `explore` would be given, as are the others.
        data: likewise.
        objectives: checked names.
        how: runtime, batch and threads.

    Raises:
        OutputError: the study is none, or of another model, data or objectives.
    """
    belongs = _belongs(model, data, tuple(objectives), how)
    with tempfile.TemporaryDirectory() as place:
        # Opened where it lies, a study is written to: a trial that was broken off is told so.
        copy = Path(shutil.copy(study, place))
        try:
            with opened(copy, belongs, list(map(maximised, objectives)), 0) as kept:
                return len(kept.counted)
        except OutputError as error:
            error.where = str(study)
            raise


class _Search:
    """A search under way: the trials that count, and the models of their front."""

    def __init__(
        self,
        model: keras.Model,
        data: Dataset,
        build: Build,
        judge: Judge,
        objectives: tuple[str, ...],
        whole: Mapping[str, float],
        study: Study,
        path: Path | None,
    ):
        self.model, self.data, self.build, self.judge = model, data, build, judge
        self.objectives, self.whole, self.study = objectives, whole, study
        self.folder = None if path is None else path.with_suffix("")
        self.kept: dict[int, Result] = {}
        self.trials = [
            _tried(number, each, objectives) for number, each in enumerate(study.counted, start=1)
        ]

    def restore(self) -> None:
        """Make the models of the front anew that are not there, and remove what is left over."""
        fixed = need_optuna().trial.FixedTrial
        for each in front_of(self.trials):
            if self.folder is not None and not (self.folder / file_of(each.number)).is_file():
                steps = _steps(self.build(fixed(dict(each.settings))))
                self._keep(each.number, chain(*steps)(self.model, self.data))
        self._forget()

    def one(self) -> None:
        """Do one trial."""
        start = time.perf_counter()
        trial = self.study.ask()
        number = len(self.trials) + 1
        try:
            values, why = self._attempt(number, trial)
            trial.set_user_attr("seconds", time.perf_counter() - start)
        except BaseException as error:
            # One that cannot be told now is found under way by the next call, and does not count.
            with suppress(Exception):
                self.study.broken(trial, f"{type(error).__name__}: {error}")
            error.add_note(f"This was trial {number} of the search, with {dict(trial.params)}.")
            raise
        if why:
            self.study.refused(trial, why)
        else:
            self.study.done(trial, [values[name] for name in self.objectives])
        self.trials.append(_tried(number, self.study.counted[-1], self.objectives))
        self._forget()

    def line(self) -> str:
        """Return the last trial in words."""
        last = self.trials[-1]
        if last.state == "refused":
            return f"refused: {last.why}"
        values = (f"{name} {told(name, value, self.whole)}" for name, value in last.values.items())
        return ", ".join(values) + (", on the front" if last in front_of(self.trials) else "")

    def _attempt(self, number: int, trial: optuna.Trial) -> tuple[Mapping[str, float], str]:
        """Return what the model of a trial is worth, or nothing and why it was refused."""
        try:
            made = self.build(trial)
        except need_optuna().TrialPruned as error:
            return {}, str(error) or "left out by build"
        except SecateurError as error:
            return {}, _why(error)
        steps = _steps(made)
        written = tuple(map(repr, steps))
        trial.set_user_attr("steps", written)
        for each in self.trials:
            # The same settings are drawn again where there are few to choose from.
            if each.steps == written and dict(each.settings) == dict(trial.params):
                return each.values, each.why
        try:
            result = chain(*steps)(self.model, self.data)
            values = self.judge(result)
        except SecateurError as error:
            return {}, _why(error)
        tried = Tried(number, trial.params, written, values)
        # Kept before the trial counts: whatever happens, no model of the front is missing.
        if tried in front_of([*self.trials, tried]):
            self._keep(number, result)
        return values, ""

    def _keep(self, number: int, result: Result) -> None:
        if self.folder is None:
            self.kept[number] = replace(result, stages=())
            return
        if result.quantization is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / grids_of(number), result.quantization.to_json())
        # Last: where it is there, all of the trial is.
        save_model(result.model, self.folder / file_of(number))

    def _forget(self) -> None:
        """Remove the models that are not on the front, or not any more."""
        numbers = {each.number for each in front_of(self.trials)}
        for number in set(self.kept) - numbers:
            del self.kept[number]
        if self.folder is not None:
            stay = {self.folder / name(n) for n in numbers for name in (file_of, grids_of)}
            for path in set(self.folder.glob(FILES)) - stay:
                path.unlink(missing_ok=True)


def _why(error: SecateurError) -> str:
    """Return why a step refused, unless it would refuse every other trial as well."""
    if isinstance(error, (MissingExtraError, OutputError)):
        raise error
    return str(error)


def _steps(made: Any) -> tuple[Step, ...]:
    """Return what `build` gave as a tuple of steps.

    Raises:
        PlanError: it is none.
    """
    steps = tuple(made) if isinstance(made, (tuple, list)) else (made,)
    if not steps or not all(callable(each) and not isinstance(each, type) for each in steps):
        raise PlanError(
            f"build must give a step or a tuple of steps, and gave {made!r}.",
            where="explore",
            mend="Return, for example, (Prune(macs=0.5), FineTune(epochs=2)).",
        )
    return steps


def _tried(number: int, trial: optuna.trial.FrozenTrial, objectives: tuple[str, ...]) -> Tried:
    done = trial.values is not None
    return Tried(
        number=number,
        settings=trial.params,
        steps=tuple(trial.user_attrs.get("steps", ())),
        values=dict(zip(objectives, trial.values, strict=True)) if done else {},
        state="done" if done else "refused",
        why=trial.user_attrs.get("why", ""),
        seconds=trial.user_attrs.get("seconds", 0.0),
    )


def _checked(path: Path) -> Path:
    """Return the path of a study.

    Raises:
        OutputError: it has no ending, so that the folder of models would have the same name.
    """
    if not path.suffix or path.is_dir():
        raise OutputError(
            "a study is a file with an ending; the models of the front lie beside it, in a folder "
            "of its name without the ending.",
            where=path,
            mend="Name it, for example, search.journal.",
        )
    return path


def _belongs(
    model: keras.Model, data: Dataset, objectives: tuple[str, ...], how: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the trials of a study belong to."""
    found: dict[str, Any] = {
        "model": _fingerprint(model),
        "data": data.fingerprint,
        "objectives": list(objectives),
    }
    return found | ({"runtime, batch or threads": how} if "latency" in objectives else {})


def _fingerprint(model: keras.Model) -> str:
    """Return a hash of a model's structure and weights."""
    digest = hashlib.sha256(trace(model).fingerprint().encode())
    for weight in model.weights:
        digest.update(to_numpy(weight).tobytes())
    return digest.hexdigest()
