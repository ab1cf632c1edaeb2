"""What the pages share: templates, style sheets, scripts, and the hash that lets a script run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from secateur.reporting import units


@cache
def environment() -> Environment:
    """Return what reads the templates; figures are filters in them."""
    made = Environment(
        loader=PackageLoader("secateur.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    named = (
        "count",
        "whole",
        "size",
        "ms",
        "percent",
        "points",
        "figure",
        "seconds",
        "day",
        "plural",
        "breakable",
    )
    made.filters.update({name: getattr(units, name) for name in named})
    return made


@cache
def file_text(name: str) -> str:
    """Return the text of a style sheet or script that goes into a page."""
    return (files("secateur.reporting") / "templates" / name).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """Return the hash by which a page allows its own script.

    Text of a user can never run, whatever it holds.
    """
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
