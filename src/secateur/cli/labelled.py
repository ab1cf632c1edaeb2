"""Data with labels, read as the model that it is for takes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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


class Reading(NamedTuple):
    """How data with labels is read, as the options of a command say."""

    target: str | None
    above: float | None
    key: Sequence[str] | None
    ignore: Sequence[str] | None
    header: bool

    @property
    def given(self) -> dict[str, bool]:
        """Which options were given, by their names."""
        return {
            "--target": self.target is not None,
            "--above": self.above is not None,
            "--key": bool(self.key),
            "--ignore": bool(self.ignore),
            "--no-header": not self.header,
        }


def read_for(model: keras.Model, data: str, how: Reading, *, where: Path) -> Dataset:
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
        target=how.target,
        above=how.above,
        keys=how.key or (),
        ignore=how.ignore or (),
        header=how.header,
        **images,
    )
    check_fits(model, dataset.contract, where=where)
    return dataset
