"""Which rank each layer of a model gets, of those whose factors measure faster than the layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from secateur.cost.cost import Cost
from secateur.cost.runtimes import TITLE
from secateur.cost.stacks import Piece, time_left
from secateur.errors import BudgetError
from secateur.graph.graph import Graph
from secateur.graph.rebuild import rebuild
from secateur.planning.ranks import Choice, allocate, by_energy, least_left
from secateur.steps.factors import Form, whole_pieces
from secateur.steps.result import Note
from secateur.steps.subject import Subject

if TYPE_CHECKING:
    import keras

    from secateur.steps.factorize import Factorize

STEP = "factorize"
# Factors must take less than this share of a layer's time: two timings of one layer differ by less.
FASTER = 0.97


class Ranking:
    """The ranks that layers may have; those that were measured to be slower are left out for good.

    Args:
        step: what is asked for, and on what layers are timed.
        graph: the traced model.
        subjects: the layers.
        forms: the methods for each, by its path.
        before: what the model costs.
        cost: what budgets are shares of, `macs`, `params` or `bytes`; `None` where ranks come of
            the energy or of VBMF.
    """

    def __init__(
        self,
        step: Factorize,
        graph: Graph,
        subjects: Sequence[Subject],
        forms: Mapping[str, Sequence[Form]],
        before: Cost,
        cost: str | None,
    ):
        self.step, self.graph, self.forms, self.cost = step, graph, forms, cost
        self.subjects = {subject.path: subject for subject in subjects}
        self.wholes = {path: subject.whole for path, subject in self.subjects.items()}
        totals = {"macs": before.macs, "params": before.parameters, "bytes": before.bytes}
        self.total = totals.get(cost or "", 0)
        self.notes: list[Note] = []
        self.options = {path: self._options(subject) for path, subject in self.subjects.items()}
        self._shares: dict[tuple[str, Choice], float] = {}
        self._timed: dict[tuple[Piece, ...], float] = {}

    def chosen(self, share: float | None = None) -> dict[str, Choice]:
        """Return the choice of each layer that is factorized.

        Args:
            share: the share of the cost that may be left.

        Raises:
            BudgetError: so little cannot be left; the least that can is named.
        """
        while True:
            try:
                chosen = self._allocated(share)
            except BudgetError as error:
                error.mend = f"{error.mend}{self.slower}"
                raise
            slow = False
            for path, choice in chosen.items() if self.step.faster else ():
                if self._time_left(path, choice) < FASTER:
                    continue
                slow = True
                self.options[path] = [
                    other
                    for other in self.options[path]
                    if other.method != choice.method or other.macs < choice.macs
                ]
            if not slow:
                return chosen

    def least(self) -> float:
        """Return the least share of the cost that can be left, as far as layers were timed."""
        return least_left(self.options, self.wholes, budget=self.cost or "macs", total=self.total)

    def build(self, chosen: Mapping[str, Choice]) -> keras.Model:
        """Return the model with factors as they were chosen; the given one is untouched."""
        parts = {
            id(subject.layer): self._form(path, chosen[path]).parts(chosen[path].ranks)
            for path, subject in self.subjects.items()
            if path in chosen
        }
        return rebuild(self.graph, self.graph.everything(), parts)

    @property
    def slower(self) -> str:
        """Say of the choices that were left out how slow they are; nothing if there are none."""
        worst = [share for share in self._shares.values() if share >= FASTER]
        if not worst:
            return ""
        return (
            f" {len(worst)} choices took {min(worst):.2f} to {max(worst):.2f} of a layer's time "
            f"{self._where()}; to allow them, add faster=False."
        )

    def said(self, path: str, choice: Choice) -> str:
        """Say what a choice for a layer is, and what it costs."""
        whole = self.wholes[path]
        costs = f"{choice.macs / max(whole.macs, 1):.0%} of its MACs, " if whole.macs else ""
        costs += f"{choice.params / whole.params:.0%} of its parameters"
        what = f"{_said(choice)}, {choice.energy:.1%} of its energy, {costs}"
        if self.step.faster:
            what += f", {self._shares[path, choice]:.2f} of its time {self._where()}"
        return what

    def kept(self, chosen: Mapping[str, Choice]) -> list[Note]:
        """Say why layers stay for which there were choices."""
        notes = []
        for path in self.options:
            slower = [(c, s) for (p, c), s in self._shares.items() if p == path and s >= FASTER]
            if path not in chosen and slower:
                choice, share = min(slower, key=lambda pair: pair[1])
                what = f"{_said(choice)} takes {share:.2f} of its time {self._where()}"
                notes.append(Note(STEP, "skipped", f"kept: {what}", path))
            elif path not in chosen and self.options[path] and self.cost is not None:
                notes.append(Note(STEP, "skipped", "kept: the budget holds without it", path))
        return notes

    def _options(self, subject: Subject) -> list[Choice]:
        """Return the choices that make a layer smaller, and say so if there is none."""
        whole, forms, step = subject.whole, self.forms[subject.path], self.step
        may_multiply = subject.read is None and self.cost != "macs"
        if step.vbmf:
            every = [form.choice(form.beneath_noise(step.round_to)) for form in forms]
        else:
            every = [form.choice(ranks) for form in forms for ranks in form.ranks(step.round_to)]
        smaller = [
            choice
            for choice in every
            if choice.params < whole.params and (may_multiply or choice.macs < whole.macs)
        ]
        why = None
        if not forms:
            why = f"{step.conv} is not for a kernel of size {subject.layer.kernel_size}"
        elif not smaller:
            lowest = min(every, key=lambda choice: choice.params, default=None)
            why = "no rank is a multiple of round_to"
            if subject.read is None and not may_multiply:
                why = "it multiplies nothing, and its factors would"
            elif lowest is not None:
                why = f"{_said(lowest)}, the least there is, saves nothing"
        elif step.energy is not None and by_energy(smaller, step.energy) is None:
            best = max(smaller, key=lambda choice: choice.energy)
            why = f"{_said(best)} gives {best.energy:.1%} of its energy, and more saves nothing"
        if why is not None:
            self.notes.append(Note(STEP, "skipped", f"kept: {why}", subject.path))
        return smaller

    def _form(self, path: str, choice: Choice) -> Form:
        """Return the method of a choice for a layer."""
        return next(form for form in self.forms[path] if form.name == choice.method)

    def _allocated(self, share: float | None) -> dict[str, Choice]:
        if share is not None and self.cost is not None:
            return allocate(
                self.options, self.wholes, budget=self.cost, share=share, total=self.total
            )
        energy = self.step.energy if self.step.energy is not None else 0.0
        found = {path: by_energy(each, energy) for path, each in self.options.items()}
        return {path: choice for path, choice in found.items() if choice is not None}

    def _time_left(self, path: str, choice: Choice) -> float:
        """Return the share of a layer's time that its factors take; layers alike are timed once."""
        whole = whole_pieces(self.subjects[path])
        pieces = self._form(path, choice).pieces(choice.ranks)
        key = (*whole, *pieces)
        if key not in self._timed:
            self._timed[key] = time_left(
                whole,
                pieces,
                runtime=self.step.runtime,
                batch=self.step.batch,
                threads=self.step.threads,
                seed=self.step.seed,
            )
        self._shares[path, choice] = self._timed[key]
        return self._timed[key]

    def _where(self) -> str:
        threads = f"{self.step.threads} thread{'s' if self.step.threads > 1 else ''}"
        return f"on {TITLE[self.step.runtime]} (batch {self.step.batch}, {threads})"


def _said(choice: Choice) -> str:
    ranks = " and ".join(map(str, choice.ranks))
    return f"{choice.method} of rank {ranks}"
