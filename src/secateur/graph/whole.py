"""Models of a class of their own that are made again by that class, as a whole.

Where a layer of such a model cannot be made from its own config, no functional model of its layers
can be saved and loaded. What the config of the model itself can say still can: all blocks then
shrink alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import keras

from secateur.errors import ModelError
from secateur.graph.configs import (
    TIMES,
    Place,
    Shape,
    Way,
    config_of,
    integers,
    made_again,
    numbers,
    shrunk,
    with_numbers,
)
from secateur.graph.sweep import Call, Sweep, mapped, shortest


@dataclass(frozen=True)
class Said:
    """Something that the config of a model can say.

    Args:
        way: where in the config its number stands.
        times: how many times the length it is.
        axes: the axes that have this length, as pairs (index of the weight, axis).
    """

    way: Way
    times: int
    axes: tuple[Place, ...]


def said_by(model: keras.Model, sweep: Sweep, swept: Callable[[Any], Sweep]) -> tuple[Said, ...]:
    """Find out what the config of a model can say.

    Each integer of the config is made smaller by way of trial. It counts if that makes axes of
    one length shorter, and if the same operations with the same numbers are left.

    Args:
        model: a model of a class of its own.
        sweep: what was found about it.
        swept: finds the same about another model.
    """
    config = config_of(model)
    if config is None:
        return ()
    before = _shapes(model)

    def trial(way: Way, number: int) -> tuple[list[Place], int, int] | None:
        new = _made(model, with_numbers(config, [way], [number]))
        found = None if new is None else shrunk(before, _shapes(new))
        try:
            return found if found and _same_work(sweep, swept(new)) else None
        except ModelError:
            # It can be built with this number, but not be run.
            return None

    said: list[Said] = []
    for way, number in integers(config):
        first = trial(way, number // 2) if number > 1 else None
        if first is None:
            continue
        axes, length, _ = first
        times = number // length
        # That half can be said does not mean that one less can (the number of heads).
        one_less = trial(way, number - times) if times in TIMES else None
        alone = not any(set(axes) & set(other.axes) for other in said)
        if one_less == (axes, length, length - 1) and alone:
            said.append(Said(way, times, tuple(axes)))
    return tuple(said)


def held(model: keras.Model, sweep: Sweep, said: Sequence[Said]) -> tuple[Said, ...]:
    """Pin all axes but those that the config can say something about; return what is of use."""
    entries = [sweep.weight(model.name, variable) for variable in model.weights]

    def is_of_use(each: Said) -> bool:
        return bool(shortest([entries[index].axes[axis] for index, axis in each.axes]))

    useful = tuple(each for each in said if is_of_use(each))
    free = {place for each in useful for place in each.axes}
    reason = f"no config of {type(model).__name__} says that less of it is left"
    for index, entry in enumerate(entries):
        for axis, ids in enumerate(entry.axes):
            if (index, axis) not in free:
                sweep.ledger.pin(ids, reason)
    return useful


def made_whole(model: keras.Model, said: Sequence[Said], shapes: Sequence[Shape]) -> keras.Model:
    """Return a model of the same class whose weights have the wanted shapes.

    Raises:
        ModelError: the class objects to them.
    """
    lengths = [each.times * min(shapes[index][axis] for index, axis in each.axes) for each in said]
    config = with_numbers(config_of(model), [each.way for each in said], lengths)
    new = made_again(model, config, model.name)
    if _shapes(new) != [tuple(shape) for shape in shapes]:
        raise ModelError(
            f"{type(model).__name__} makes weights of other shapes than planned.",
            where=model.name,
            mend="Ask for other widths (round_to), or keep some layers whole with keep=.",
        )
    return new


def _made(model: keras.Model, config: Any) -> Any:
    try:
        return made_again(model, config, model.name)
    except Exception:
        # A class of one's own may object to numbers in its own way.
        return None


def _shapes(model: keras.Model) -> list[Shape]:
    return [tuple(weight.shape) for weight in model.weights]


def _same_work(one: Sweep, other: Sweep) -> bool:
    pairs = zip_longest(one.calls, other.calls)
    return all(a is not None and b is not None and _does(a) == _does(b) for a, b in pairs)


def _does(call: Call) -> tuple[type, list[Any]]:
    args, kwargs = mapped(lambda value: value.spec, (call.args, call.kwargs))
    return type(call.operation), numbers(call.operation, args, kwargs)
