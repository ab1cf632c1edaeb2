"""The contenders of a comparison: the families of compression, each as a list of steps.

Every family is trained for the same number of epochs in all, so that none wins by more training.
`training-alone` changes nothing but that: it says what the training itself is worth. A family
is offered where all its steps are there.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from secateur.recipe.sections import STEPS, CompareSection
from secateur.recipe.steps import in_words

if TYPE_CHECKING:
    from secateur.recipe.recipe import Recipe

Entry = Mapping[str, Any]
Family = Callable[[float, int], list[Entry]]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A name and the entries of its steps, as a recipe writes them."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def told(self) -> str:
        """Return the steps as a person reads them: `prune (macs 0.5, by l2), finetune`."""
        return ", ".join(in_words(*pair) for entry in self.entries for pair in entry.items())


def contenders(recipe: Recipe) -> tuple[Contender, ...]:
    """Return the contenders that a recipe names, or one of each family that is there.

    Steps of a family that train do so as the section `train` says of batches, class weights and
    augmentation, and at the section's own `learning_rate`, but for training with rounding in place,
    which takes a lower one. Widths and ranks are multiples of the section's `round_to`.
    """
    section = recipe.compare or CompareSection()
    asked = dict.fromkeys(FAMILIES) if section.contenders is None else section.contenders
    return tuple(
        Contender(name, tuple(_family(name, recipe, section) if entries is None else entries))
        for name, entries in asked.items()
    )


def _family(name: str, recipe: Recipe, section: CompareSection) -> list[Entry]:
    """Return the entries of a family, with what the recipe says of training."""
    train = {} if recipe.train is None else recipe.train.arguments()
    shared = ("batch_size", "class_weights", "augment")
    how = {key: train[key] for key in shared if train.get(key) not in (None, False)}
    made = []
    for entry in FAMILIES[name](section.macs, section.epochs):
        ((step, arguments),) = entry.items()
        known = _arguments(step)
        if section.round_to is not None and "round_to" in known:
            arguments = {**arguments, "round_to": section.round_to}
        if arguments.get("epochs"):
            arguments = {**arguments, **{k: v for k, v in how.items() if k in known}}
            if section.learning_rate is not None and step != "quantize":
                arguments["learning_rate"] = section.learning_rate
        made.append({step: arguments})
    return made


def _arguments(step: str) -> set[str]:
    module, _, name = STEPS[step].partition(":")
    return {
        field.name for field in dataclasses.fields(getattr(importlib.import_module(module), name))
    }


def _tune(epochs: int, **more: Any) -> list[Entry]:
    return [{"finetune": {"epochs": epochs, **more}}] if epochs else []


def _halves(epochs: int) -> tuple[int, int]:
    return epochs - epochs // 2, epochs // 2


def _prune(by: str, **more: Any) -> Family:
    return lambda macs, epochs: [{"prune": {"macs": macs, "by": by}}, *_tune(epochs, **more)]


def _regularize(penalty: str) -> Family:
    def entries(macs: float, epochs: int) -> list[Entry]:
        first, rest = _halves(epochs)
        return [{"regularize": {"penalty": penalty, "macs": macs, "epochs": first}}, *_tune(rest)]

    return entries


def _select(macs: float, epochs: int) -> list[Entry]:
    return [{"select": {"macs": macs, "epochs": epochs}}]


def _sparsify(macs: float, epochs: int) -> list[Entry]:
    return [{"sparsify": {"sparsity": round(1 - macs, 6), "epochs": epochs}}]


def _factorize(macs: float, epochs: int) -> list[Entry]:
    return [{"factorize": {"macs": macs}}, *_tune(epochs)]


def _rounded(family: Family, **more: Any) -> Family:
    """Return a family whose result is rounded to integers."""
    return lambda macs, epochs: [*family(macs, epochs), {"quantize": more}]


def _train(macs: float, epochs: int) -> list[Entry]:
    return _tune(epochs)


_ALL: dict[str, Family] = {
    "training-alone": _train,
    "magnitude": _prune("l2"),
    "taylor": _prune("taylor"),
    "pruning-network": _select,
    "l1": _regularize("l1"),
    "l2": _regularize("l2"),
    "group-lasso": _regularize("group_lasso"),
    "sparse": _sparsify,
    "low-rank": _factorize,
    "int8": _rounded(_train),
    "int8-dynamic": _rounded(_train, mode="dynamic"),
    "int8-aware": lambda macs, epochs: [{"quantize": {"epochs": epochs}}],
    "magnitude-int8": _rounded(_prune("l2")),
    "taylor-int8": _rounded(_prune("taylor", distill=True)),
    "taylor-int8-dynamic": _rounded(_prune("taylor", distill=True), mode="dynamic"),
    "network-int8": _rounded(_select),
    "network-int8-dynamic": _rounded(_select, mode="dynamic"),
    "low-rank-int8": _rounded(_factorize),
}

FAMILIES: dict[str, Family] = {
    name: family
    for name, family in _ALL.items()
    if {step for entry in family(0.5, 2) for step in entry} <= set(STEPS)
}
