"""The recipe: YAML on one side, plain checked values and steps on the other.

This is the only place where strings become objects. Every key is known; one that is not is an
error that says where it stands and which was meant.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from secateur.data.places import is_remote
from secateur.errors import RecipeError
from secateur.recipe.contenders import FAMILIES
from secateur.recipe.mistakes import explain, suggest, told
from secateur.recipe.positions import Positions, read_yaml, set_value
from secateur.recipe.ranges import Space, space_of
from secateur.recipe.sections import (
    CompareSection,
    DataSection,
    ExploreSection,
    ExportSection,
    MeasureSection,
    ModelSection,
    Section,
    TrainSection,
)
from secateur.recipe.steps import beside, parsed, to_step
from secateur.steps.order import check_order


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
    explore: ExploreSection | None = None
    compare: CompareSection | None = None
    seed: int = Field(default=0, ge=0)

    _folder: Path = PrivateAttr(default=Path())
    _space: Space | None = PrivateAttr(default=None)

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
                f"a recipe is a mapping of keys, this is {told(tree)}.",
                where=positions.file,
                mend="Start from `secateur init`, which writes one.",
            )
        try:
            recipe = cls.model_validate(dict(tree))
        except ValidationError as error:
            raise explain(error, positions, list(cls.model_fields)) from None
        recipe._folder = folder
        recipe._space = space_of(recipe.steps, positions)
        if not recipe._space.ranges:
            # A step that names a file that is not there is to be told now.
            check_order(recipe.chain, _places(recipe.chain, positions, ("steps",)))
        for name, entries in ((recipe.compare and recipe.compare.contenders) or {}).items():
            path = ("compare", "contenders", name)
            if entries is None and name not in FAMILIES:
                raise RecipeError(
                    f"there is no family {name!r}, and the contender has no steps.",
                    where=positions.at(path),
                    mend=suggest(name, list(FAMILIES)),
                )
            made = [
                beside(parsed(entry, positions, (*path, index)), folder)
                for index, entry in enumerate(entries or ())
            ]
            check_order(made, _places(made, positions, path))
        return recipe

    @property
    def source(self) -> Path | str:
        """The path of the data, beside the recipe, or its address in a store."""
        named = self.data.source
        return str(named) if is_remote(named) else self._folder / named

    @property
    def model_path(self) -> Path | None:
        """The path of the model file that is loaded, if one is."""
        return None if self.model.load is None else self._folder / self.model.load

    @cached_property
    def chain(self) -> tuple[Any, ...]:
        """The steps as objects, in order; the recipe's seed is theirs where they name none.

        Raises:
            RecipeError: a value is a range.
        """
        for each in self.space.ranges:
            raise RecipeError(
                "this is a range, from which `secateur explore` chooses; a run needs one value.",
                where=each.where,
                mend="Use `secateur explore` for this recipe, or give a value.",
            )
        return self.steps_of(self.steps)

    def steps_of(
        self, entries: Sequence[Mapping[str, Any]], seed: int | None = None
    ) -> tuple[Any, ...]:
        """Return entries as steps; a file that one names is looked for beside the recipe.

        Args:
            entries: the entries.
            seed: theirs where they name none; by default the recipe's.

        Raises:
            RecipeError: there is no such file, or an entry means nothing.
        """
        seed = self.seed if seed is None else seed
        return tuple(beside(to_step(entry, seed=seed), self._folder) for entry in entries)

    @property
    def space(self) -> Space:
        """What the steps may be, where some of their values are ranges."""
        return self._space or space_of(self.steps, Positions("recipe", {}))

    @property
    def folder(self) -> Path:
        """The folder that paths in the recipe are relative to."""
        return self._folder

    @property
    def start(self) -> Recipe:
        """The same recipe as far as the baseline depends on it."""
        left_out = {"steps", "compare", "explore", "export", "measure"}
        tree = {key: value for key, value in self.tree().items() if key not in left_out}
        return type(self).of(tree, self._folder)

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
        """Return the SHA-256 of all that the result of a run depends on, in hex."""
        told = self.model_dump(mode="json", exclude={"name", "explore", "compare"})
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _import(name: str, folder: Path) -> Callable[..., Any]:
    """Import a function; a module may lie beside the recipe."""
    import sys

    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(folder.resolve()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RecipeError(
            f"the module {module_name!r} cannot be imported: {error}.",
            where="model.build",
            mend="Install it, or put it beside the recipe.",
        ) from error
    finally:
        sys.path.remove(str(folder.resolve()))
    function = getattr(module, attribute, None)
    if not callable(function):
        names = [each for each in dir(module) if callable(getattr(module, each))]
        raise RecipeError(
            f"the module {module_name!r} has no function {attribute!r}.",
            where="model.build",
            mend=suggest(attribute, [each for each in names if not each.startswith("_")]),
        )
    return function


def _places(steps: Sequence[Any], positions: Positions, path: tuple[Any, ...]) -> list[str]:
    """Return where each step of a list stands in the file."""
    return [positions.at((*path, index)) for index in range(len(steps))]
