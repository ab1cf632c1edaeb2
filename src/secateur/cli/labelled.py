"""Data with labels, read as the model that it is for takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import keras

    from secateur.data.dataset import Dataset

Target = Annotated[
    str | None, typer.Option("--target", help="With --data: the column that is predicted.")
]
Above = Annotated[
    float | None,
    typer.Option("--above", help="With --data: two classes of a number, up to this and above it."),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        "--key", help="With --data: a column that goes with a row and is no input. Repeatable."
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="With --data: a column that the model does not see. Repeatable."),
]
Header = Annotated[
    bool,
    typer.Option(
        "--header/--no-header",
        help="Whether CSV files have a line of names; without, columns are named 0, 1, ...",
    ),
]


def read_for(
    model: keras.Model,
    data: str,
    *,
    where: Path,
    target: str | None,
    above: float | None,
    key: Sequence[str] | None,
    ignore: Sequence[str] | None,
    header: bool,
) -> Dataset:
    """Read data for a model that is there; it says how large images are.

    Raises:
        ModelError: the model, a file at `where`, does not fit the data.
    """
    from secateur.data.read import read
    from secateur.models.fits import check_fits, image_size

    size = image_size(model) if Path(data).is_dir() else None
    images = {"image_size": size[:2], "mode": size[2]} if size else {}
    dataset = read(
        data,
        target=target,
        above=above,
        keys=key or (),
        ignore=ignore or (),
        header=header,
        **images,
    )
    check_fits(model, dataset.contract, where=where)
    return dataset


def given_with_data(
    target: str | None,
    above: float | None,
    key: Sequence[str] | None,
    ignore: Sequence[str] | None,
    header: bool,
) -> dict[str, bool]:
    """Return which options that say how data is read were given, by their names."""
    return {
        "--target": target is not None,
        "--above": above is not None,
        "--key": bool(key),
        "--ignore": bool(ignore),
        "--no-header": not header,
    }
