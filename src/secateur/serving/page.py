"""The page on which an artifact is tried, as text."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import secateur
from secateur.reporting import units
from secateur.reporting.rendering import file_text
from secateur.serving.fields import fields
from secateur.serving.rivals import Rivals


def render(rivals: Rivals) -> str:
    """Return the page for one or two models."""
    contract = rivals.contract
    return (
        _templates()
        .get_template("try.html.j2")
        .render(
            name=rivals.name,
            version=secateur.__version__,
            contract=contract,
            rivals=[(one.title, units.size(one.bytes)) for one in rivals.all],
            fields=fields(contract) if contract.kind == "table" else (),
            limit=contract.image.max_bytes if contract.image else 0,
            limit_text=units.size(contract.image.max_bytes) if contract.image else "",
            style=Markup(file_text("report.css") + _file("try.css")),
            script=Markup(script()),
        )
    )


@cache
def script() -> str:
    """Return the page's own script, the only one that may run on it."""
    return _file("try.js")


@cache
def _file(name: str) -> str:
    return (files("secateur.serving") / "templates" / name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("secateur.serving"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
