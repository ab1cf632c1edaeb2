"""Ranges in a recipe's steps: where a value may stand, what `explore` is to choose it from.

`macs: {low: 0.2, high: 0.8}` is a number (with `log: true` or a `step`), `by: {any: [l2, taylor]}`
one of several values, and `- any: [none, {finetune: {epochs: 2}}]` one of several steps or none.
A mapping that the step takes as it stands is no range.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secateur.errors import RecipeError
from secateur.recipe.mistakes import short
from secateur.recipe.positions import Positions
from secateur.recipe.steps import accepts, in_words, parsed

_KEYS = {"low", "high", "step", "log"}


@dataclass(frozen=True)
class Range:
    """A number between two others, both included.

    Args:
        low: the lowest.
        high: the highest.
        whole: whether it is a whole number.
        step: what lies between two that may be chosen; `None` for all of them.
        log: whether to choose on a logarithmic scale.
        where: where it stands in the recipe.
    """

    low: float
    high: float
    whole: bool = False
    step: float | None = None
    log: bool = False
    where: str = field(default="", compare=False)

    @property
    def samples(self) -> tuple[Any, ...]:
        """Some values, the ends among them."""
        return (self.low, self.high)

    def __str__(self) -> str:
        how = " on a logarithmic scale" if self.log else ""
        how = f" by {self.step:g}" if self.step is not None else how
        return f"{self.low:g} to {self.high:g}{how}"


@dataclass(frozen=True)
class AnyOf:
    """One of several values, each by a label.

    Args:
        values: the values by their labels, which are of a type that JSON has no parts in.
        where: where it stands in the recipe.
    """

    values: Mapping[Any, Any]
    where: str = field(default="", compare=False)

    @property
    def samples(self) -> tuple[Any, ...]:
        """All values."""
        return tuple(self.values.values())

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


Choose = Callable[[str, "Range | AnyOf"], Any]


@dataclass(frozen=True)
class _Slot:
    """A step with its arguments, some of which may be ranges."""

    step: str
    title: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """What the steps of a recipe may be: for each place, the alternatives by their labels."""

    places: tuple[AnyOf, ...]

    @property
    def ranges(self) -> tuple[Range | AnyOf, ...]:
        """Everything that is to be chosen."""
        return tuple(each for _, each in self.named())

    @property
    def in_words(self) -> tuple[str, ...]:
        """What may stand at each place: `prune (macs 0.2 to 0.8)`, `none or finetune`."""
        return tuple(
            " or ".join(
                "none" if slot is None else in_words(slot.step, slot.arguments)
                for slot in place.values.values()
            )
            for place in self.places
        )

    def entries(self, choose: Choose) -> tuple[dict[str, Any], ...]:
        """Return the entries of steps with a value for every range.

        Args:
            choose: gives a value of a range, or the label of one of several, by the name of what
                is chosen: `prune.macs`.
        """
        made = []
        for number, place in enumerate(self.places, start=1):
            labels = list(place.values)
            label = labels[0] if len(labels) == 1 else choose(f"step {number}", place)
            slot = place.values[label]
            if slot is not None:
                made.append({slot.step: _chosen(slot, choose)})
        return tuple(made)

    def named(self) -> Iterator[tuple[str, Range | AnyOf]]:
        """Yield everything that is to be chosen, with the names that `entries` chooses by."""
        for number, place in enumerate(self.places, start=1):
            if len(place.values) > 1:
                yield f"step {number}", place
            for slot in filter(None, place.values.values()):
                for key, value in slot.arguments.items():
                    if isinstance(value, (Range, AnyOf)):
                        yield f"{slot.title}.{key}", value


def space_of(steps: Sequence[Any], positions: Positions) -> Space:
    """Return what steps may be, with every end and every alternative tried out.

    Raises:
        RecipeError: a range means nothing, or a step cannot have one of its values.
        SecateurError: a step refuses one of the values.
    """
    read = [list(_alternatives(entry, positions, ("steps", i))) for i, entry in enumerate(steps)]
    count = Counter(name for place in read for name, _, _ in place if name)
    seen: Counter[str] = Counter()
    places = []
    for index, place in enumerate(read):
        where = positions.at(("steps", index))
        slots: dict[str, _Slot | None] = {}
        for name, arguments, path in place:
            if not name:
                slots["none"] = None
                continue
            seen[name] += 1
            title = name if count[name] == 1 else f"{name} {seen[name]}"
            slot = _Slot(name, title, _arguments(name, arguments, positions, path))
            _try_out(slot, positions, path)
            slots[title] = slot
        places.append(AnyOf(slots, where))
    return Space(tuple(places))


def _alternatives(
    entry: Any, positions: Positions, path: tuple[Any, ...]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield name, arguments and place of each step that may stand at a place; "" is no step."""
    if isinstance(entry, Mapping) and set(entry) == {"any"}:
        among = entry["any"]
        if not isinstance(among, list) or len(among) < 2:
            raise RecipeError(
                f"`any` is a list of two or more steps, got {short(among)}.",
                where=positions.at((*path, "any")),
                mend="Write it as `- any: [none, {finetune: {epochs: 2}}]`.",
            )
        for number, each in enumerate(among):
            yield from _alternatives(each, positions, (*path, "any", number))
        return
    if entry in (None, "none") and "any" in path:
        yield "", {}, path
        return
    entry = {entry: {}} if isinstance(entry, str) else entry
    known = isinstance(entry, Mapping) and len(entry) == 1
    name, arguments = next(iter(entry.items())) if known else ("", None)
    if not name or not isinstance(arguments, Mapping):
        parsed(entry, positions, path)
    yield str(name), arguments or {}, path


def _arguments(
    name: str, arguments: Mapping[str, Any], positions: Positions, path: tuple[Any, ...]
) -> dict[str, Any]:
    """Return arguments with their ranges as objects."""
    found = {}
    for key, value in arguments.items():
        marks = {"any"} | _KEYS
        if isinstance(value, Mapping) and marks & set(value) and not accepts(name, key, value):
            where = positions.at((*path, name, key))
            whole = not accepts(name, key, 0.5)
            value = _any_of(value, where) if "any" in value else _range(value, whole, where)
        found[key] = value
    return found


def _any_of(value: Mapping[str, Any], where: str) -> AnyOf:
    among = value["any"]
    if len(value) != 1 or not isinstance(among, list) or not among:
        raise RecipeError(
            f"`any` is a list of values and stands alone, got {short(dict(value))}.",
            where=where,
            mend="Write it as `{any: [l2, taylor]}`.",
        )
    plain = (bool, int, float, str, type(None))
    labels = [each if isinstance(each, plain) else json.dumps(each) for each in among]
    values = dict(zip(labels, among, strict=True))
    if len(values) < len(among):
        raise RecipeError("`any` has a value twice.", where=where, mend="Delete one of the two.")
    return AnyOf(values, where)


def _range(value: Mapping[str, Any], whole: bool, where: str) -> Range:
    low, high, step = value.get("low"), value.get("high"), value.get("step")
    log = value.get("log", False)
    wrong = None
    numbers = [each for each in (low, high, step) if each is not None]
    if set(value) - _KEYS or low is None or high is None:
        wrong = "has `low` and `high`, and `step` or `log` if need be"
    elif not all(isinstance(e, (int, float)) and not isinstance(e, bool) for e in numbers):
        wrong = "is of numbers"
    elif whole and not all(isinstance(each, int) for each in numbers):
        wrong = "is of whole numbers here"
    elif not low < high:
        wrong = "begins below its end"
    elif not isinstance(log, bool) or (log and (step is not None or low <= 0)):
        wrong = "with `log: true` is above 0 and has no `step`"
    elif step is not None and not 0 < step <= high - low:
        wrong = "has a `step` above 0 that fits into it"
    if wrong or low is None or high is None:
        raise RecipeError(
            f"a range {wrong}, got {short(dict(value))}.",
            where=where,
            mend="Write it as `{low: 0.2, high: 0.8}`.",
        )
    if step is not None:
        high = low + int((high - low) / step + 1e-9) * step
    return Range(low, high, whole, step, log, where)


def _try_out(slot: _Slot, positions: Positions, path: tuple[Any, ...]) -> None:
    """Make the step with every end and alternative of each range, the others at their first.

    Raises:
        RecipeError: a value means nothing.
        SecateurError: the step refuses it.
    """
    ranges = {k: v for k, v in slot.arguments.items() if isinstance(v, (Range, AnyOf))}
    first = {**slot.arguments, **{key: each.samples[0] for key, each in ranges.items()}}
    parsed({slot.step: first}, positions, path)
    for key, each in ranges.items():
        for value in each.samples[1:]:
            parsed({slot.step: {**first, key: value}}, positions, path)


def _chosen(slot: _Slot, choose: Choose) -> dict[str, Any]:
    made = {}
    for key, value in slot.arguments.items():
        if isinstance(value, (Range, AnyOf)):
            chosen = choose(f"{slot.title}.{key}", value)
            value = value.values[chosen] if isinstance(value, AnyOf) else chosen
        made[key] = value
    return made
