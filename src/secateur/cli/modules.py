"""Modules of the user's own, which hold classes of layers and rules."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from secateur.cli.keras_setup import prepare
from secateur.errors import ModelError


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, from the current folder as well.

    Raises:
        ModelError: one cannot be imported.
    """
    if not names:
        return
    prepare()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ModelError(
                f"the module cannot be imported ({type(error).__name__}: {error}).",
                where=name,
                mend="Give a module's name, without .py, that is installed or in this folder.",
            ) from error
