"""The folder of a run: where everything lies, and what is done already.

run/
  recipe.yaml     what was asked
  state.json      what is done: a run that was broken off goes on from here
  baseline.keras  the model before, and `baseline/`, its artifact
  model.keras     the model after, and `artifact/`, its artifact
  checkpoints/    the model after each step, and the state of a training under way
  run.json        the record that the report is drawn from
  report.html
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.errors import OutputError
from secateur.files import lock, write_whole

if TYPE_CHECKING:
    import keras

    from secateur.recipe.recipe import Recipe

FORMAT = 1
STATE = "state.json"
RECIPE = "recipe.yaml"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DISK = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR}


class RunFolder:
    """A run's folder, and the facts that are kept in it under a name each."""

    def __init__(self, path: str | Path, recipe: Recipe, *, resume: bool = False):
        """Look at the folder; nothing is written before `begin`.

        Raises:
            OutputError: it exists and is not resumed, or holds the run of another recipe.
        """
        self.path = Path(path)
        self._recipe = recipe
        self._facts: dict[str, Any] = {}
        self._data: str | None = None
        if self.path.is_file():
            raise OutputError(
                "this is a file.", where=path, mend="Name another folder with `--out`."
            )
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if not resume:
            raise OutputError(
                "the folder exists already.",
                where=path,
                mend="Go on with `--resume`, or name another folder with `--out`.",
            )
        self._read_state()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the folder for this process alone; what is made for it and left empty goes again.

        Raises:
            OutputError: another process has it.
        """
        made = [each for each in (self.path, *self.path.parents) if not each.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        # Windows opens no folder; there two runs in one are not told apart.
        descriptor = None if os.name == "nt" else os.open(self.path, os.O_RDONLY)
        try:
            if descriptor is not None and not lock(descriptor):
                raise OutputError(
                    "another process is at work in this folder.",
                    where=self.path,
                    mend="Wait until it ends, or name another folder with `--out`.",
                )
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                for each in made:
                    each.rmdir()

    def check(self, data: str) -> None:
        """Raise what `held` and `begin` would for data of this fingerprint; nothing is written.

        Raises:
            OutputError: the folder cannot be made, is in use, or was begun on other data.
        """
        if self.path.exists():
            with self.held():
                pass
        above = self.path.absolute()
        nearest = next(each for each in (above, *above.parents) if each.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise OutputError(
                "it cannot be written to." if nearest.is_dir() else "this is a file.",
                where=nearest,
                mend="Name another folder with `--out`.",
            )
        self._check_data(data)

    @property
    def baseline(self) -> Path:
        """The model before the steps."""
        return self.path / "baseline.keras"

    @property
    def model(self) -> Path:
        """The model after the steps."""
        return self.path / "model.keras"

    @property
    def baseline_artifact(self) -> Path:
        """The exported model before the steps."""
        return self.path / "baseline"

    @property
    def artifact(self) -> Path:
        """The exported model after the steps."""
        return self.path / "artifact"

    def checkpoint(self, name: str) -> Path:
        """Return the path of a thing that is kept while the run is under way."""
        return self.path / "checkpoints" / name

    def begin(self, data: str) -> None:
        """Make the folder for data of this fingerprint.

        Raises:
            OutputError: the run was begun on other data, or the folder cannot be made.
        """
        self._check_data(data)
        self._data = data
        if not (self.path / STATE).exists():
            write_whole(self.path / RECIPE, self._recipe.to_yaml())
            self._write_state()

    def has(self, name: str) -> bool:
        """Return whether a fact is kept."""
        return name in self._facts

    def get(self, name: str, default: Any = None) -> Any:
        """Return a fact."""
        return self._facts.get(name, default)

    def put(self, name: str, value: Any) -> None:
        """Keep a fact, safe on the disk before this returns."""
        self._facts[name] = value
        self._write_state()

    def save(self, model: keras.Model, path: Path) -> None:
        """Save a model so that the file is there whole or not at all."""
        from secateur.models.save import save_model

        save_model(model, path)

    def forget(self, name: str) -> None:
        """Remove a thing that was kept while the run was under way."""
        path = self.checkpoint(name)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True) if path.is_file() else None

    def _check_data(self, data: str) -> None:
        if self._data is not None and self._data != data:
            raise OutputError(
                "the data has changed since the run was begun.",
                where=self.path,
                mend="Name another folder with `--out`.",
            )

    def _read_state(self) -> None:
        path = self.path / STATE
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            recipe, data, facts = told["recipe"], told["data"], dict(told["facts"])
        except (OSError, ValueError, KeyError, TypeError):
            raise OutputError(
                f"the folder is not that of a run that can be resumed: no good {STATE} in it.",
                where=self.path,
                mend="Name another folder with `--out`.",
            ) from None
        if recipe != self._recipe.fingerprint():
            raise OutputError(
                "the folder holds the run of another recipe.",
                where=self.path,
                mend="Name another folder with `--out`, or put the recipe back as it was "
                f"({self.path / RECIPE}).",
            )
        self._data, self._facts = data, facts

    def _write_state(self) -> None:
        told = {
            "format": FORMAT,
            "recipe": self._recipe.fingerprint(),
            "data": self._data,
            "facts": self._facts,
        }
        write_whole(self.path / STATE, json.dumps(told, indent=1))


@contextlib.contextmanager
def disk_errors(where: Path, again: str = "with `--resume`") -> Iterator[None]:
    """Turn what a full or closed disk makes of a write into one line; `again` says how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK and "No space left" not in str(error):
            raise
        full = error.errno in _FULL or "No space left" in str(error)
        raise OutputError(
            "the disk is full." if full else f"it cannot be written: {error.strerror}.",
            where=error.filename or where,
            mend=f"Make room, then go on {again}."
            if full
            else "Choose a folder that you may write to.",
        ) from error
