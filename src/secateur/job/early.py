"""What a recipe asks of the data, looked for before anything takes long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from secateur.data.augment import augmentation
from secateur.data.batches import check_class_weights
from secateur.data.groups import groups_of
from secateur.errors import DataError

if TYPE_CHECKING:
    from secateur.data.dataset import Dataset
    from secateur.recipe.recipe import Recipe


def check_groups(recipe: Recipe, data: Dataset) -> None:
    """Look for the groups that the recipe names, before anything takes long.

    Raises:
        ContractError: there is no such column.
        DataError: a pattern is none, or the data has no columns.
    """
    for column in recipe.measure.groups:
        groups_of(data.test, column)


def check_trainings(steps: Iterable[Any], data: Dataset) -> None:
    """Look for the classes that steps weigh, and whether they vary what the data has.

    Raises:
        DataError: there is no such class, or a variation is for other kinds of data.
    """
    for step in steps:
        name = type(step).__name__.lower().removesuffix("section")
        weights, augment = getattr(step, "class_weights", None), getattr(step, "augment", None)
        check_class_weights(data.contract, weights, where=f"{name}.class_weights")
        if augment is None or isinstance(augment, bool):
            continue
        options = augment if isinstance(augment, Mapping) else augment.model_dump()
        given = {key: value for key, value in options.items() if value is not None}
        try:
            augmentation(data.contract.kind, **given)
        except DataError as error:
            raise DataError(error.what, where=f"{name}.augment", mend=error.mend) from error
