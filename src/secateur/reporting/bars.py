"""Drawings without axes: all functions here take plain figures and return an inline SVG.

Bars, columns, dots on a line and the heat map stretch to the room that they are given. Grey is
before, the accent is after; every figure stands beside its bar or in the drawing's description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.svg import picture, tag


def skyline(widths: Sequence[tuple[str, int, int]]) -> Markup:
    """Draw every layer as a column, input to output: what it was behind, what it is in front."""
    most = max((max(before, after) for _, before, after in widths), default=1) or 1
    step = 100.0 / max(1, len(widths))
    # Columns of a small network would be walls; they keep to a tenth of the width.
    broad = min(step * 0.86, 7.0)
    drawn = []
    for place, (layer, before, after) in enumerate(widths):
        left = f"{step * place + (step - broad) / 2:.2f}"
        wide = f"{broad:.2f}"
        said = f"{layer}: {units.whole(before)} → {units.whole(after)}"
        columns = [
            tag(
                "rect",
                x=left,
                y=100 - 100 * value / most,
                width=wide,
                height=100 * value / most,
                class_=name,
            )
            for name, value in (("before", before), ("after", after))
        ]
        drawn.append(tag("g", tag("title", said), *columns))
    return picture(
        drawn,
        width=100,
        height=100,
        title="Width of every layer, before and after",
        description=f"{units.plural(len(widths), 'layer')}; the table below has the figures",
        class_="skyline",
        stretch=True,
    )


def bar(before: float, after: float, most: float) -> Markup:
    """Draw one quantity before and after on a common measure; its figures stand beside it."""
    most = most or 1
    shapes = [
        tag("rect", x=0, y=0, width=100.0 * value / most, height=10, class_=name)
        for name, value in (("before", before), ("after", after))
    ]
    if after > before > 0:
        # What grew covers what it was: a notch shows how far that went.
        shapes.append(
            tag("rect", x=100.0 * before / most - 0.8, y=0, width=1.6, height=10, class_="notch")
        )
    return tag(
        "svg",
        *shapes,
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        class_="bar",
    )


def stacked(parts: Sequence[tuple[str, int]]) -> Markup:
    """Draw parts of a whole side by side."""
    total = sum(value for _, value in parts) or 1
    drawn, at = [], 0.0
    for number, (name, value) in enumerate(parts):
        wide = 100.0 * value / total
        said = f"{name}: {units.whole(value)} ({units.percent(value / total)})"
        piece = tag("rect", x=at, y=0, width=wide, height=10, class_=f"part-{number % 3}")
        drawn.append(tag("g", tag("title", said), piece))
        at += wide
    words = ", ".join(f"{name} {units.whole(value)}" for name, value in parts)
    return picture(
        drawn,
        width=100,
        height=10,
        title="Rows of each split",
        description=words,
        class_="stacked",
        stretch=True,
    )


def dumbbell(before: float | None, after: float | None, low: float) -> Markup:
    """Draw one share before and after as two dots on a line from `low` to 1."""

    def at(value: float) -> str:
        # In per cent, so that the line stretches and the dots stay round.
        return f"{2 + 96 * (value - low) / (1 - low):.1f}%"

    drawn = [tag("line", x1=at(low), x2=at(1.0), y1=8, y2=8, class_="track")]
    if before is not None and after is not None:
        drawn.append(tag("line", x1=at(before), x2=at(after), y1=8, y2=8, class_="span"))
    for name, value in (("before", before), ("after", after)):
        if value is not None:
            drawn.append(tag("circle", cx=at(value), cy=8, r=4, class_=name))
    return tag("svg", *drawn, aria_hidden="true", class_="dumbbell")


def shade(share: float, *, right: bool) -> str:
    """Return the class of a cell's colour by its share of the row.

    What is right grows evenly; what is wrong by the root, so that rare errors are seen.
    """
    share = min(1.0, max(0.0, share))
    tenths = math.ceil((share if right else math.sqrt(share)) * 10 - 1e-9)
    return f"{'right' if right else 'wrong'}-{tenths}"


def heat_map(confusion: Sequence[Sequence[int]], names: Sequence[str], *, title: str) -> Markup:
    """Draw a confusion matrix of many classes: one path for each shade, so that it stays light."""
    many = len(confusion)
    shades: dict[str, list[str]] = {}
    for row, counts in enumerate(confusion):
        total = sum(counts) or 1
        for column, number in enumerate(counts):
            if number:
                colour = shade(number / total, right=row == column)
                shades.setdefault(colour, []).append(f"M{column} {row}h1v1h-1z")
    cells = tag(
        "g",
        tag("rect", x=0, y=0, width=many, height=many, class_="ground"),
        *(
            tag("path", d="".join(pieces), class_=colour)
            for colour, pieces in sorted(shades.items())
        ),
        transform=f"translate(110 8) scale({600 / many:.4f})",
        shape_rendering="crispEdges",
    )
    every = math.ceil(many / 46)
    marks = []
    for place in range(0, many, every):
        middle = (place + 0.5) * 600 / many
        short = names[place] if len(names[place]) <= 15 else names[place][:14] + "…"
        marks.append(tag("text", short, x=103, y=8 + middle + 3.5, text_anchor="end"))
        turn = f"translate({110 + middle + 3.5:.1f} 615) rotate(-90)"
        marks.append(tag("text", short, transform=turn, text_anchor="end"))
    words = f"{units.plural(many, 'class', 'classes')}; rows are true, columns predicted"
    return picture(
        [*marks, cells], width=720, height=720, title=title, description=words, class_="heat"
    )
