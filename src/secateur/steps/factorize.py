"""Factorize: layers of low rank as products of smaller ones, where that measures faster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from secateur.cost.measure import measure
from secateur.cost.runtimes import TITLE
from secateur.cost.stacks import check_stacks, time_left
from secateur.errors import BudgetError, PlanError
from secateur.graph.rebuild import rebuild
from secateur.graph.trace import trace
from secateur.planning.options import budget_of
from secateur.planning.ranks import COSTS, Choice, allocate, by_energy
from secateur.steps.asked import check_dataset
from secateur.steps.factorable import subjects_of, told
from secateur.steps.factors import METHODS, Form, forms_of, whole_pieces
from secateur.steps.inputs import Watched, watched
from secateur.steps.order import NOTHING
from secateur.steps.result import Note, Result, Stage
from secateur.steps.subject import Subject

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

STEP = "factorize"
# Factors must take less than this share of a layer's time: two timings of one layer differ by less.
FASTER = 0.97


@dataclass(frozen=True)
class Factorize:
    """Write dense layers, projections, tables and convolutions as products of smaller ones.

    Dense, EinsumDense (the projections of attentions, which are laid open for it) and Embedding
    layers become two of their singular value decomposition. Convolutions become two by that of
    their patches (`svd`), two along the axes of space (`spatial`, Jaderberg et al. 2014), or three
    (`tucker`, Kim et al. 2016). The last of the layers has the bias and the activation. With data
    the error that counts is that of the layer's outputs, and the bias takes up the mean of what is
    lost.

    Exactly one of `energy`, `vbmf`, `macs`, `params` and `bytes` is given. A layer stays as it is
    where no rank makes it smaller, or where its factors do not measure faster; a note says so.

    Args:
        energy: the share of the mean square of each layer's output (without data: of its squared
            weights) that its factors give at least, between 0 and 1.
        vbmf: take the ranks that are above the noise of the weights (Nakajima et al. 2013).
        macs: the share of the model's multiply-adds that may be left.
        params: the share of its parameters that may be left.
        bytes: the share of their bytes that may be left.
        data_aware: whether factors are fitted to what the layers read, if there is data.
        conv: the method for convolutions, `svd`, `spatial` or `tucker`; `auto` takes the best of
            them, and `tucker` with `vbmf`.
        round_to: ranks are multiples of it.
        layers: patterns (`fnmatch`) of the layers that may be factorized; all of them if empty.
        keep: patterns of layers that stay as they are.
        faster: whether each layer is timed against its factors, and kept where they are slower.
            Where both are about as fast, the next run may decide otherwise; without it the same
            seed gives the same factors.
        runtime: what it is timed on, `onnxruntime` or `openvino`.
        batch: the rows of one timed call.
        threads: the threads that a timed call may use.
        samples: how many training rows are looked at; no labels are needed.
        seed: which rows these are.
    """

    energy: float | None = None
    vbmf: bool = False
    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    data_aware: bool = True
    conv: str = "auto"
    round_to: int = 8
    layers: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    faster: bool = True
    runtime: str = "onnxruntime"
    batch: int = 1
    threads: int = 1
    samples: int = 512
    seed: int = 0

    spares: ClassVar[frozenset[str]] = NOTHING

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, model: keras.Model, data: Dataset | None = None) -> Result:
        """Return the model with factors in place of layers; the given one is untouched.

        Args:
            model: a built functional or Sequential model.
            data: for factors that are fitted to what the layers read.

        Raises:
            BudgetError: the budget cannot be met.
            PlanError: nothing can be factorized, or a pattern matches no layer.
            DataError: the data is no Dataset, or has too few rows.
            ModelError: the model cannot be traced.
        """
        if self.faster:
            check_stacks(self.runtime)
        start = time.perf_counter()
        graph = trace(model)
        subjects, notes = subjects_of(graph, self.layers, self.keep)
        seen = self._seen(graph, subjects, data, notes) if subjects else {}
        forms = {
            subject.path: forms_of(subject, seen.get(subject.path), self._methods)
            for subject in subjects
        }
        before = measure(model)
        chosen = self._chosen(subjects, forms, before, notes)
        if not chosen:
            said = "; ".join(str(note) for note in notes[:3])
            raise PlanError(
                "nothing in this model can be factorized.",
                where=model.name,
                mend=said or "It has no dense, convolutional or embedding layer.",
            )
        parts, done = {}, []
        for subject in subjects:
            if subject.path not in chosen:
                continue
            choice, note = chosen[subject.path]
            parts[id(subject.layer)] = _form(forms, subject, choice).parts(choice.ranks)
            done.append(Note(STEP, "done", note + told(graph, subject), subject.path))
        smaller = rebuild(graph, graph.everything(), parts)
        stage = Stage("factorized", smaller, time.perf_counter() - start)
        notes = (*done, *notes)
        return Result(smaller, before, measure(smaller), notes=notes, stages=(stage,))

    @property
    def _methods(self) -> tuple[str, ...]:
        if self.conv != "auto":
            return (self.conv,)
        return ("tucker",) if self.vbmf else METHODS

    def _budget(self) -> tuple[str, float] | None:
        given = {name: getattr(self, name) for name in COSTS}
        if all(value is None for value in given.values()):
            return None
        return budget_of(**given)

    def _seen(
        self, graph: Any, subjects: list[Subject], data: Dataset | None, notes: list[Note]
    ) -> dict[str, Watched]:
        """Return what layers read, by their paths, and say why it is not known of others."""
        if not self.data_aware:
            return {}
        if data is None:
            notes.append(Note(STEP, "skipped", "there is no data, so factors fit weights alone"))
            return {}
        check_dataset(data, "factors are fitted to", STEP)
        x, _ = data.train.sample(self.samples, seed=self.seed)
        wanted = {id(subject.layer): subject.around for subject in subjects}
        found, seen = watched(graph, wanted, x, seed=self.seed), {}
        for subject in subjects:
            each = found[id(subject.layer)]
            if isinstance(each, str):
                notes.append(Note(STEP, "skipped", f"data is not used: {each}", subject.path))
                continue
            seen[subject.path] = each
            features = subject.weights.shape[1]
            if each.places < features:
                few = f"{each.places} places for {features} inputs"
                more = f"{each.needed} samples would give as many"
                notes.append(Note(STEP, "skipped", f"little data: {few}; {more}", subject.path))
        return seen

    def _chosen(
        self, subjects: list[Subject], forms: dict[str, list[Form]], before: Any, notes: list[Note]
    ) -> dict[str, tuple[Choice, str]]:
        """Return the choice of each layer that is factorized, with what is to be said of it."""
        options = {s.path: self._options(s, forms[s.path], notes) for s in subjects}
        wholes = {subject.path: subject.whole for subject in subjects}
        named = {subject.path: subject for subject in subjects}
        shares: dict[tuple[str, Choice], float] = {}
        timed: dict[Any, float] = {}
        while True:
            try:
                chosen = self._allocated(options, wholes, before)
            except BudgetError as error:
                worst = [share for share in shares.values() if share >= FASTER]
                if worst:
                    said = f"{len(worst)} choices took {min(worst):.2f} to {max(worst):.2f} of a"
                    said += f" layer's time {self._where()}; to allow them, add faster=False."
                    error.mend = f"{error.mend} {said[0].upper()}{said[1:]}"
                raise
            slow = False
            for path, choice in chosen.items() if self.faster else ():
                share = self._time_left(named[path], forms, choice, timed)
                shares[path, choice] = share
                if share < FASTER:
                    continue
                slow = True
                options[path] = [
                    other
                    for other in options[path]
                    if other.method != choice.method or other.macs < choice.macs
                ]
            if not slow:
                break
        for path in options:
            slower = [(c, s) for (name, c), s in shares.items() if name == path and s >= FASTER]
            if path not in chosen and slower:
                choice, share = min(slower, key=lambda pair: pair[1])
                what = f"{_said(choice)} takes {share:.2f} of its time {self._where()}"
                notes.append(Note(STEP, "skipped", f"kept: {what}", path))
            elif path not in chosen and options[path] and self._budget():
                notes.append(Note(STEP, "skipped", "kept: the budget holds without it", path))
        found = {}
        for path, choice in chosen.items():
            whole = wholes[path]
            costs = f"{choice.macs / max(whole.macs, 1):.0%} of its MACs, " if whole.macs else ""
            costs += f"{choice.params / whole.params:.0%} of its parameters"
            what = f"{_said(choice)}, {choice.energy:.1%} of its energy, {costs}"
            if self.faster:
                what += f", {shares[path, choice]:.2f} of its time {self._where()}"
            found[path] = (choice, what)
        return found

    def _options(self, subject: Subject, forms: list[Form], notes: list[Note]) -> list[Choice]:
        """Return the choices that make a layer smaller, and say so if there is none."""
        whole, budget = subject.whole, self._budget()
        may_multiply = subject.read is None and (budget is None or budget[0] != "macs")
        if self.vbmf:
            every = [form.choice(form.beneath_noise(self.round_to)) for form in forms]
        else:
            every = [form.choice(ranks) for form in forms for ranks in form.ranks(self.round_to)]
        smaller = [
            choice
            for choice in every
            if choice.params < whole.params and (may_multiply or choice.macs < whole.macs)
        ]
        if not forms:
            why = f"kept: {self.conv} is not for a kernel of size {subject.layer.kernel_size}"
            notes.append(Note(STEP, "skipped", why, subject.path))
        elif not smaller:
            lowest = min(every, key=lambda choice: choice.params, default=None)
            why = "no rank is a multiple of round_to" if lowest is None else _said(lowest)
            if subject.read is None and not may_multiply:
                why = "kept: it multiplies nothing, and its factors would"
            elif lowest is not None:
                why = f"kept: {why}, the least there is, saves nothing"
            notes.append(Note(STEP, "skipped", why, subject.path))
        elif self.energy is not None and by_energy(smaller, self.energy) is None:
            best = max(smaller, key=lambda choice: choice.energy)
            why = (
                f"kept: {_said(best)} gives {best.energy:.1%} of its energy, and more saves nothing"
            )
            notes.append(Note(STEP, "skipped", why, subject.path))
        return smaller

    def _allocated(
        self, options: Mapping[str, list[Choice]], wholes: Mapping[str, Choice], before: Any
    ) -> dict[str, Choice]:
        budget = self._budget()
        if budget is not None:
            name, share = budget
            total = {"macs": before.macs, "params": before.parameters, "bytes": before.bytes}[name]
            return allocate(options, wholes, budget=name, share=share, total=total)
        energy = self.energy if self.energy is not None else 0.0
        found = {path: by_energy(each, energy) for path, each in options.items()}
        return {path: choice for path, choice in found.items() if choice is not None}

    def _time_left(
        self,
        subject: Subject,
        forms: dict[str, list[Form]],
        choice: Choice,
        timed: dict[Any, float],
    ) -> float:
        """Return the share of a layer's time that its factors take; layers alike are timed once."""
        whole = whole_pieces(subject)
        pieces = _form(forms, subject, choice).pieces(choice.ranks)
        key = (*whole, *pieces)
        if key not in timed:
            timed[key] = time_left(
                whole,
                pieces,
                runtime=self.runtime,
                batch=self.batch,
                threads=self.threads,
                seed=self.seed,
            )
        return timed[key]

    def _where(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"on {TITLE[self.runtime]} (batch {self.batch}, {threads})"


def _form(forms: Mapping[str, list[Form]], subject: Subject, choice: Choice) -> Form:
    return next(form for form in forms[subject.path] if form.name == choice.method)


def _said(choice: Choice) -> str:
    ranks = " and ".join(map(str, choice.ranks))
    return f"{choice.method} of rank {ranks}"


def _check(step: Factorize) -> None:
    """Refuse arguments that contradict each other or mean nothing, by name."""
    given = ["energy"] * (step.energy is not None) + ["vbmf"] * bool(step.vbmf)
    given += [name for name in COSTS if getattr(step, name) is not None]
    if len(given) != 1:
        raise BudgetError(
            f"one thing must say the ranks, received {', '.join(given) or 'none'}.",
            where=STEP,
            mend=f"Give one of energy, vbmf, {', '.join(COSTS)}.",
        )
    step._budget()
    if step.energy is not None and (isinstance(step.energy, bool) or not 0 < step.energy < 1):
        raise PlanError(
            f"energy must be a share between 0 and 1, received {step.energy!r}.",
            where="energy",
            mend="0.95 leaves out a twentieth.",
        )
    if step.conv not in ("auto", *METHODS):
        raise PlanError(
            f"conv cannot be {step.conv!r}.",
            where="conv",
            mend=f"Use auto, {', '.join(METHODS)}.",
        )
    for name in ("layers", "keep"):
        if isinstance(getattr(step, name), str):
            raise PlanError(
                f"{name} must be a tuple of patterns, received {getattr(step, name)!r}.",
                where=name,
                mend=f"Write {name}=({getattr(step, name)!r},).",
            )
    for name in ("round_to", "batch", "threads", "samples"):
        value = getattr(step, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PlanError(
                f"{name} must be a whole number from 1, received {value!r}.",
                where=name,
                mend="Use 8." if name == "round_to" else "Use 1 or more.",
            )
