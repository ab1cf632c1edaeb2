"""Mistakes in a recipe, as one line each: what is wrong, where, and what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from secateur.errors import RecipeError
from secateur.recipe.positions import Positions, place
from secateur.recipe.sections import SECTIONS, STEPS, AugmentSection


def explain(error: ValidationError, positions: Positions, top: Sequence[str]) -> RecipeError:
    """Turn the first thing that pydantic found into one line with its place and its mend.

    Args:
        error: what pydantic raised for a recipe.
        positions: where each key stands.
        top: the keys at the top of a recipe.
    """
    found = error.errors(include_url=False)
    # An unknown key explains a missing one, so it is told first.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    path = tuple(part for part in first["loc"] if not _is_type(part))
    where = positions.at(path)
    if first["type"] == "extra_forbidden":
        name = str(path[-1])
        known = _keys(path[:-1], top)
        return RecipeError(
            f"there is no key {place(path)!r} in a recipe.",
            where=where,
            mend=_home(name, path, top) or suggest(name, known),
        )
    if first["type"] == "missing" and isinstance(path[-1], int):
        last = max(int(e["loc"][-1]) for e in found if e["loc"][:-1] == first["loc"][:-1])
        return RecipeError(
            f"{place(path[:-1])} has {path[-1]} of the {last + 1} values that it needs.",
            where=positions.at(path[:-1]),
            mend="Give all of them, in brackets.",
        )
    if first["type"] == "missing":
        return RecipeError(
            f"the recipe has no {place(path)!r}, which it needs.",
            where=positions.at(path[:-1]),
            mend=f"Add `{path[-1]}:`; `secateur init` writes a whole recipe.",
        )
    return RecipeError(
        f"{place(path) or 'the recipe'} cannot be {short(first['input'])}: {_message(first)}.",
        where=where,
        mend="Correct the value.",
    )


def _is_type(part: Any) -> bool:
    """Tell whether a part of a place is no key but the name of a type that was tried."""
    return isinstance(part, str) and (part == "bool" or part.startswith(("dict[", "tuple[")))


def _keys(path: tuple[Any, ...], top: Sequence[str]) -> Sequence[str]:
    if not path:
        return top
    section = AugmentSection if path[1:] == ("augment",) else SECTIONS.get(str(path[0]))
    return list(section.model_fields) if section else []


def _home(name: str, path: tuple[Any, ...], top: Sequence[str]) -> str | None:
    """Say in which section a key stands that was put into another one."""
    for title, section in SECTIONS.items():
        if name in section.model_fields and title not in path:
            return f"It belongs under `{title}:`."
    if name in STEPS:
        return "It belongs into the list under `steps:`."
    return f"`{name}` stands at the top of a recipe." if name in top else None


def _message(found: Any) -> str:
    text = str(found["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def short(value: Any) -> str:
    """Return a value as text of at most 60 characters."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def told(value: Any) -> str:
    """Return the type of a value and the value itself, for a person."""
    return "empty" if value is None else f"a {type(value).__name__} ({short(value)})"


def said(error: ValidationError) -> str:
    """Return the first thing that pydantic found, as a part of a sentence."""
    return _message(error.errors(include_url=False)[0])


def suggest(name: str, known: Sequence[str]) -> str:
    """Say which of the known names was meant, or list them."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known are {', '.join(known)}."
