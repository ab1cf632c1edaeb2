"""Steps and their entries in a recipe: `Prune(macs=0.5)` is `prune: {macs: 0.5}`."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from secateur.errors import RecipeError, SecateurError
from secateur.planning.patterns import Pattern
from secateur.recipe.mistakes import said, suggest, told
from secateur.recipe.patterns import to_pattern, to_text
from secateur.recipe.positions import Positions
from secateur.recipe.sections import STEPS, AugmentSection


def to_step(entry: Mapping[str, Any], *, seed: int | None = None) -> Any:
    """Return the step that an entry such as `{"prune": {"macs": 0.5}}` stands for.

    Raises:
        RecipeError: there is no such step, argument, or value.
    """
    return parsed(entry, Positions("recipe", {}), ("steps",), seed=seed)


def to_entry(step: Any) -> dict[str, Any]:
    """Return the recipe entry of a step: its name, and what differs from the defaults."""
    name = next((key for key, home in STEPS.items() if _is(step, home)), None)
    if name is None:
        raise RecipeError(
            f"{type(step).__name__} has no name in a recipe.", mend=f"Known are {', '.join(STEPS)}."
        )
    arguments = {}
    for field in dataclasses.fields(step):
        value = getattr(step, field.name)
        if value != _default(field):
            pattern = typing.get_type_hints(type(step))[field.name] is Pattern
            arguments[field.name] = to_text(value) if pattern else _plain(value)
    return {name: arguments}


def parsed(
    entry: Any, positions: Positions, path: tuple[Any, ...], *, seed: int | None = None
) -> Any:
    """Return the step of an entry that stands at `path` in a file."""
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise RecipeError(
            f"a step is one name with its arguments, got {told(entry)}.",
            where=positions.at(path),
            mend="Write it as `- prune: {macs: 0.5}`.",
        )
    name, arguments = next(iter(entry.items()))
    path = (*path, name)
    if name not in STEPS:
        raise RecipeError(
            f"there is no step {name!r}.",
            where=positions.at(path),
            mend=suggest(str(name), list(STEPS)),
        )
    cls = _resolve(STEPS[name])
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise RecipeError(
            f"the arguments of {name} are a mapping, got {told(arguments)}.",
            where=positions.at(path),
            mend=f"Write it as `- {name}: {{key: value}}`.",
        )
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in fields:
            raise RecipeError(
                f"the step {name} has no argument {key!r}.",
                where=positions.at((*path, key)),
                mend=suggest(str(key), list(fields)),
            )
        if hints[key] is Pattern:
            try:
                values[key] = to_pattern(value)
            except SecateurError as error:
                error.where = positions.at((*path, key))
                raise
            continue
        try:
            values[key] = TypeAdapter(
                hints[key], config=ConfigDict(arbitrary_types_allowed=True)
            ).validate_python(value)
        except ValidationError as error:
            raise RecipeError(
                f"{key} of {name} cannot be {value!r}: {said(error)}.",
                where=positions.at((*path, key)),
                mend="Correct the value.",
            ) from None
    if seed is not None and "seed" in fields:
        values.setdefault("seed", seed)
    try:
        step = cls(**values)
        _check(name, step)
        return step
    except SecateurError as error:
        error.where = positions.at(path)
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{error}", where=positions.at(path)) from None


def beside(step: Any, folder: Path) -> Any:
    """Return a step whose file is looked for in the recipe's folder.

    Raises:
        RecipeError: it is not there.
    """
    found: dict[str, Any] = {}
    for key in ("rewind", "distill"):
        named = getattr(step, key, None)
        if not isinstance(named, (str, Path)):
            continue
        if not (folder / named).is_file():
            raise RecipeError(
                f"there is no file {folder / named}.",
                where=key,
                mend="Name a .keras file, relative to the recipe.",
            )
        found[key] = type(named)(folder / named)
    return dataclasses.replace(step, **found) if found else step


def in_words(name: str, arguments: Mapping[str, Any] | None) -> str:
    """Return a step as a person reads it: `prune (macs 0.5, by l2)`."""
    words = ", ".join(f"{key} {_value(value)}" for key, value in (arguments or {}).items())
    return f"{name} ({words})" if words else name


def accepts(name: str, key: str, value: Any) -> bool:
    """Return whether an argument may have a value by its type; one that there is not may."""
    hint = typing.get_type_hints(_resolve(STEPS[name])).get(key) if name in STEPS else None
    if hint is None:
        return True
    if hint is Pattern:
        return not isinstance(value, Mapping)
    try:
        TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError:
        return False
    return True


def _check(name: str, step: Any) -> None:
    """Find now what the step itself would find after hours of training."""
    for key in ("epochs", "learning_rate", "rounds"):
        least = 0 if key == "epochs" and name in ("prune", "sparsify", "quantize") else 1e-12
        if getattr(step, key, 1) < least:
            raise RecipeError(
                f"{key} of {name} is too small: {getattr(step, key)}.", mend="Give a larger one."
            )
    augment = getattr(step, "augment", None)
    if isinstance(augment, Mapping):
        try:
            AugmentSection.model_validate(dict(augment))
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            raise RecipeError(
                f"augment of {name} cannot have {key}={augment[key]!r}: {said(error)}.",
                mend=suggest(key, list(AugmentSection.model_fields)),
            ) from None


def _plain(value: Any) -> Any:
    """Return a value as YAML has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(each) for each in value]
    return value


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {_value(each)}" for key, each in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _resolve(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def _is(step: Any, home: str) -> bool:
    return f"{type(step).__module__}:{type(step).__name__}" == home
