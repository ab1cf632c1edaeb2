"""The recipe: YAML on one side, plain checked values and steps on the other.

This is the only place where strings become objects. Every key is known; one that is not is an
error that says where it stands and which was meant.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, Field, PrivateAttr, TypeAdapter, ValidationError

from secateur.errors import RecipeError, SecateurError
from secateur.sections import (
    SECTIONS,
    AugmentSection,
    DataSection,
    ExportSection,
    MeasureSection,
    ModelSection,
    Section,
    TrainSection,
)
from secateur.yaml_file import Positions, place, read_yaml, set_value, suggest

STEPS = {
    "prune": "secateur.steps.prune:Prune",
    "finetune": "secateur.steps.finetune:FineTune",
}


class Recipe(Section):
    """Everything that a run needs to know.

    Example:
        >>> recipe = Recipe.of({"name": "digits", "data": {"source": "digits.csv"}})
        >>> recipe.model.build, recipe.measure.batches
        (None, (1, 32))
    """

    name: str = Field(min_length=1)
    data: DataSection
    model: ModelSection = ModelSection()
    train: TrainSection | None = None
    steps: tuple[dict[str, Any], ...] = ()
    export: ExportSection = ExportSection()
    measure: MeasureSection = MeasureSection()
    seed: int = Field(default=0, ge=0)

    _folder: Path = PrivateAttr(default=Path())

    @classmethod
    def load(cls, path: str | Path, changes: Sequence[str] = ()) -> Recipe:
        """Read a recipe file and check all of it.

        Args:
            path: the YAML file.
            changes: values to set instead, each as "train.epochs=2".

        Raises:
            RecipeError: the file is missing, no YAML, or has a key or value that means nothing.
        """
        path = Path(path)
        tree, positions = read_yaml(path)
        for change in changes:
            set_value(tree, change)
        return cls._checked(tree, path.parent, positions)

    @classmethod
    def of(cls, tree: Mapping[str, Any], folder: str | Path = ".") -> Recipe:
        """Check a recipe given as plain values; paths in it are relative to `folder`."""
        return cls._checked(tree, Path(folder), Positions("recipe", {}))

    @classmethod
    def _checked(cls, tree: Any, folder: Path, positions: Positions) -> Recipe:
        if not isinstance(tree, Mapping):
            raise RecipeError(
                f"A recipe is a mapping of keys, this is {_kind(tree)}.",
                where=positions.file,
                mend="Start from `secateur init`, which writes one.",
            )
        try:
            recipe = cls.model_validate(dict(tree))
        except ValidationError as error:
            raise _explain(error, tree, positions) from None
        recipe._folder = folder
        for index, entry in enumerate(recipe.steps):
            _step(entry, positions, ("steps", index))
        return recipe

    @property
    def source(self) -> Path:
        """The path of the data."""
        return self._folder / self.data.source

    @property
    def model_path(self) -> Path | None:
        """The path of the model file that is loaded, if one is."""
        return None if self.model.load is None else self._folder / self.model.load

    @cached_property
    def chain(self) -> tuple[Any, ...]:
        """The steps as objects, in order; the recipe's seed is theirs where they name none."""
        return tuple(to_step(entry, seed=self.seed) for entry in self.steps)

    def builder(self) -> Callable[..., Any] | None:
        """Return the user's own function that builds the model, if the recipe names one.

        Raises:
            RecipeError: there is no such module or function.
        """
        if self.model.build in (None, "default"):
            return None
        return _import(str(self.model.build), self._folder)

    def tree(self) -> dict[str, Any]:
        """Return what differs from the defaults, as plain values; `of` gives the recipe again."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def to_yaml(self) -> str:
        """Return the recipe as YAML."""
        return yaml.safe_dump(self.tree(), sort_keys=False, allow_unicode=True)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that the result depends on, in hex."""
        text = json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def to_step(entry: Mapping[str, Any], *, seed: int | None = None) -> Any:
    """Return the step that an entry such as `{"prune": {"macs": 0.5}}` stands for.

    Raises:
        RecipeError: there is no such step, argument, or value.
    """
    return _step(entry, Positions("recipe", {}), ("steps",), seed=seed)


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
            arguments[field.name] = _plain(value)
    return {name: arguments}


def _step(
    entry: Any, positions: Positions, path: tuple[Any, ...], *, seed: int | None = None
) -> Any:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise RecipeError(
            f"A step is one name with its arguments, got {_kind(entry)}.",
            where=positions.at(path),
            mend="Write it as `- prune: {macs: 0.5}`.",
        )
    name, arguments = next(iter(entry.items()))
    path = (*path, name)
    if name not in STEPS:
        raise RecipeError(
            f"There is no step {name!r}.",
            where=positions.at(path),
            mend=suggest(str(name), list(STEPS)),
        )
    cls = _resolve(STEPS[name])
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise RecipeError(
            f"The arguments of {name} are a mapping, got {_kind(arguments)}.",
            where=positions.at(path),
            mend=f"Write it as `- {name}: {{key: value}}`.",
        )
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in arguments.items():
        if key not in fields:
            raise RecipeError(
                f"The step {name} has no argument {key!r}.",
                where=positions.at((*path, key)),
                mend=suggest(str(key), list(fields)),
            )
        try:
            values[key] = TypeAdapter(
                hints[key], config=ConfigDict(arbitrary_types_allowed=True)
            ).validate_python(value)
        except ValidationError as error:
            raise RecipeError(
                f"{key} of {name} cannot be {value!r}: {_message(error)}.",
                where=positions.at((*path, key)),
                mend="Correct the value.",
            ) from None
    if seed is not None and "seed" in fields:
        values.setdefault("seed", seed)
    try:
        return cls(**values)
    except SecateurError as error:
        error.where = positions.at(path)
        raise
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{error}", where=positions.at(path)) from None


def _explain(error: ValidationError, tree: Mapping[str, Any], positions: Positions) -> RecipeError:
    """Turn the first thing that pydantic found into one line with its place and its mend."""
    found = error.errors(include_url=False)
    # An unknown key explains a missing one, so it is told first.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    path = tuple(part for part in first["loc"] if not _is_type(part))
    where = positions.at(path)
    if first["type"] == "extra_forbidden":
        name = str(path[-1])
        known = _keys(path[:-1])
        return RecipeError(
            f"There is no key {place(path)!r} in a recipe.",
            where=where,
            mend=_home(name, path) or suggest(name, known),
        )
    if first["type"] == "missing":
        return RecipeError(
            f"The recipe has no {place(path)!r}, which it needs.",
            where=positions.at(path[:-1]),
            mend=f"Add `{path[-1]}:`; `secateur init` writes a whole recipe.",
        )
    return RecipeError(
        f"{place(path) or 'the recipe'} cannot be {_short(first['input'])}: {_said(first)}.",
        where=where,
        mend="Correct the value.",
    )


def _is_type(part: Any) -> bool:
    """Tell whether a part of a place is no key but the name of a type that was tried."""
    return isinstance(part, str) and (part == "bool" or part.startswith("dict["))


def _keys(path: tuple[Any, ...]) -> list[str]:
    section = SECTIONS.get(str(path[0])) if path else Recipe
    if path[1:] == ("augment",):
        section = AugmentSection
    return list(section.model_fields) if section else []


def _home(name: str, path: tuple[Any, ...]) -> str | None:
    """Say in which section a key stands that was put into another one."""
    for title, section in SECTIONS.items():
        if name in section.model_fields and title not in path:
            return f"It belongs under `{title}:`."
    if name in STEPS:
        return "It belongs into the list under `steps:`."
    return f"`{name}` stands at the top of a recipe." if name in Recipe.model_fields else None


def _message(error: ValidationError) -> str:
    return _said(error.errors(include_url=False)[0])


def _said(found: Any) -> str:
    text = str(found["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__} ({_short(value)})"


def _plain(value: Any) -> Any:
    """Return a value as YAML has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [_plain(each) for each in value]
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _resolve(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(importlib.import_module(module), name)


def _is(step: Any, home: str) -> bool:
    return f"{type(step).__module__}:{type(step).__name__}" == home


def _import(name: str, folder: Path) -> Callable[..., Any]:
    """Import a function; a module may lie beside the recipe."""
    import sys

    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(folder.resolve()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RecipeError(
            f"The module {module_name!r} cannot be imported: {error}.",
            where="model.build",
            mend="Install it, or put it beside the recipe.",
        ) from error
    finally:
        sys.path.remove(str(folder.resolve()))
    function = getattr(module, attribute, None)
    if not callable(function):
        names = [each for each in dir(module) if callable(getattr(module, each))]
        raise RecipeError(
            f"The module {module_name!r} has no function {attribute!r}.",
            where="model.build",
            mend=suggest(attribute, [each for each in names if not each.startswith("_")]),
        )
    return function
