"""Plots with axes: all functions here take plain figures and return an inline SVG.

Grey is before, the accent is after, everywhere. What a drawing shows is also in a table or in its
description, so nothing depends on seeing it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.svg import Scale, picture, scale, tag, text_width

Role = Literal["before", "between", "after"]
Text = Callable[[float | None], str]
_TEXT = 11.5
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 14.0, 38.0


@dataclass(frozen=True)
class Point:
    """One stage on a plot: what it costs (x) and how good it is (y)."""

    label: str
    x: float
    y: float
    role: Role = "between"


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def cuts(self, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Whether a straight line from start to end passes through the box."""
        steps = 24
        for step in range(steps + 1):
            x = start[0] + (end[0] - start[0]) * step / steps
            y = start[1] + (end[1] - start[1]) * step / steps
            if self.left < x < self.right and self.top < y < self.bottom:
                return True
        return False


def scatter(
    points: Sequence[Point],
    *,
    title: str,
    x_name: str,
    x_text: Text,
    y_text: Text,
    divisor: float = 1.0,
    share: bool = True,
    least: float = 0.0,
    joined: bool = True,
    named: bool = True,
) -> Markup:
    """Draw stages as dots, joined in the order in which they were reached.

    Args:
        points: the stages, in order.
        title: what the drawing shows.
        x_name: the name of the x axis, with its unit.
        x_text: how an x is written.
        y_text: how a y is written.
        divisor: what an x is divided by for the axis (1024 for KiB), so that ticks are round.
        share: whether y is a share from 0 to 1.
        least: how much the y axis spans at least.
        joined: whether a line follows the stages.
        named: whether names stand beside the dots.
    """
    width, height = 390.0, 260.0
    x_of = scale([point.x / divisor for point in points], LEFT + 6, width - RIGHT - 8, zero=True)
    ys = [point.y for point in points]
    middle = (min(ys) + max(ys)) / 2
    ys += [max(0.0, middle - least / 2), middle + least / 2] if min(ys) >= 0 else []
    y_of = scale(ys, height - BOTTOM, TOP, within=(0.0, 1.0) if share else None)
    places = [(x_of(point.x / divisor), y_of(point.y)) for point in points]
    base = next((point for point in points if point.role == "before"), None)
    drawn = frame(x_of, y_of, width, height, x_name, share)
    strokes = list(pairwise(places)) if joined else []
    if base is not None:
        level = y_of(base.y)
        strokes.append(((LEFT, level), (width - RIGHT, level)))
        drawn.append(tag("line", x1=LEFT, x2=width - RIGHT, y1=level, y2=level, class_="level"))
    if joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(tag("polyline", points=path, class_="way"))
    words = []
    for point, (x, y) in zip(points, places, strict=True):
        said = f"{point.label}: {y_text(point.y)} at {x_text(point.x)}"
        words.append(said)
        drawn.append(dot(x, y, point, said))
    if named:
        drawn += labels(points, places, strokes, y_text, width, height)
    return picture(
        drawn,
        width=width,
        height=height,
        title=title,
        description="; ".join(words),
        role="group",
    )


def dot(x: float, y: float, point: Point, said: str, *whiskers: Markup) -> Markup:
    """Draw a point that tells what it is when it is pointed at, touched or focused."""
    return tag(
        "g",
        *whiskers,
        # The unseen ring makes a dot easy to hit with a finger.
        tag("circle", cx=x, cy=y, r=12.0, class_="reach"),
        tag("circle", cx=x, cy=y, r=6.0 if point.role == "after" else 4.5),
        class_=f"dot {point.role}",
        tabindex=0,
        role="img",
        aria_label=said,
        data_tip=said,
        data_name=point.label,
    )


def lines(
    training: Sequence[float | None],
    validation: Sequence[float | None],
    *,
    title: str,
    higher_is_better: bool,
) -> Markup:
    """Draw one metric over the epochs: training thin and grey, validation in the accent."""
    width, height = 390.0, 220.0
    epochs = max(len(training), len(validation))
    known = [value for value in (*training, *validation) if value is not None]
    x_of = scale([1.0, float(max(2, epochs))], LEFT + 6, width - RIGHT - 8, rounded=False)
    y_of = scale(known, height - BOTTOM, TOP)
    whole = tuple(tick for tick in x_of.ticks if tick == int(tick))
    x_of = Scale(x_of.low, x_of.high, x_of.start, x_of.end, whole)
    drawn = frame(x_of, y_of, width, height, "Epoch", False)
    words = []
    for name, values in (("training", training), ("validation", validation)):
        for piece in _unbroken(values):
            places = [(x_of(epoch), y_of(value)) for epoch, value in piece]
            if len(places) == 1:
                drawn.append(tag("circle", cx=places[0][0], cy=places[0][1], r=2.5, class_=name))
            else:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
                drawn.append(tag("polyline", points=path, class_=f"curve {name}"))
        if any(value is not None for value in values):
            last = next(value for value in reversed(values) if value is not None)
            words.append(f"{name} ends at {units.figure(last)}")
    seen = [(value, epoch) for epoch, value in enumerate(validation, 1) if value is not None]
    if seen:
        value, epoch = max(seen, key=lambda pair: pair[0]) if higher_is_better else min(seen)
        said = f"Best: {units.figure(value)} in epoch {epoch}"
        words.append(said.lower())
        x, y = x_of(epoch), y_of(value)
        best = tag("g", tag("title", said), tag("circle", cx=x, cy=y, r=4.0), class_="dot after")
        beside = -9.0 if higher_is_better else 18.0
        beside = min(max(y + beside, TOP + 4), height - BOTTOM - 6)
        anchor = "end" if x > width * 0.7 else "start" if x < width * 0.3 else "middle"
        drawn += [
            best,
            tag(
                "text", units.figure(value), x=x, y=beside, text_anchor=anchor, class_="name after"
            ),
        ]
    return picture(drawn, width=width, height=height, title=title, description="; ".join(words))


def _plain(value: float) -> str:
    return units.count(value) if abs(value) >= 10_000 else f"{value:g}".replace("-", "−")


def frame(
    x_of: Scale, y_of: Scale, width: float, height: float, x_name: str, share: bool
) -> list[Markup]:
    """Draw the grid of a plot with its ticks; `share` writes y in per cent."""
    floor = height - BOTTOM
    drawn = []
    for tick in y_of.ticks:
        at = y_of(tick)
        drawn.append(tag("line", x1=LEFT, x2=width - RIGHT, y1=at, y2=at, class_="grid"))
        text = f"{_plain(round(tick * 100, 6))}\u00a0%" if share else _plain(tick)
        drawn.append(tag("text", text, x=LEFT - 6, y=at + 3.8, text_anchor="end"))
    for tick in x_of.ticks:
        drawn.append(tag("text", _plain(tick), x=x_of(tick), y=floor + 16, text_anchor="middle"))
    drawn.append(
        tag("text", x_name, x=width - RIGHT, y=height - 4, text_anchor="end", class_="axis")
    )
    return drawn


def _unbroken(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Cut a curve where a value is missing: (epoch, value) of each piece."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for epoch, value in enumerate(values, 1):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((epoch, value))
    return [piece for piece in pieces if piece]


def labels(
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    strokes: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    y_text: Text,
    width: float,
    height: float,
) -> list[Markup]:
    """Write names beside their dots where there is room: the end first, then the beginning."""
    merged: list[tuple[list[Point], float, float]] = []
    for point, (x, y) in zip(points, places, strict=True):
        near = next((one for one in merged if math.hypot(one[1] - x, one[2] - y) < 7), None)
        if near is None:
            merged.append(([point], x, y))
        else:
            near[0].append(point)
    rank = {"after": 0, "before": 1, "between": 2}
    merged.sort(key=lambda one: min(rank[point.role] for point in one[0]))
    taken = [_Box(x - 5, y - 5, x + 5, y + 5) for _, x, y in merged]
    drawn = []
    for together, x, y in merged:
        # Where stages coincide the last one lends its value, being what came out of them.
        text = ", ".join(point.label for point in together) + f" {y_text(together[-1].y)}"
        wide = text_width(text, _TEXT)
        best: tuple[float, _Box, float, float, str] | None = None
        for rank_of_place, (anchor, at, line) in enumerate(
            (
                ("start", x + 11, y + 4),
                ("end", x - 11, y + 4),
                ("middle", x, y - 11),
                ("middle", x, y + 19),
                ("end", x + 8, y - 11),
                ("start", x - 8, y - 11),
                ("end", x + 8, y + 19),
                ("start", x - 8, y + 19),
            )
        ):
            left = at - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
            box = _Box(left, line - 10, left + wide, line + 3)
            inside = box.left >= LEFT + 2 and box.right <= width - 2 and box.top >= 2
            if not inside or box.bottom > height - BOTTOM + 2 or any(map(box.meets, taken)):
                continue
            # A name on a line can be read, one beside it reads better.
            penalty = rank_of_place + 10 * sum(box.cuts(*piece) for piece in strokes)
            if best is None or penalty < best[0]:
                best = (penalty, box, at, line, anchor)
        if best is not None:
            _, box, at, line, anchor = best
            taken.append(box)
            role = next((one.role for one in together if one.role != "between"), "between")
            drawn.append(tag("text", text, x=at, y=line, text_anchor=anchor, class_=f"name {role}"))
    return drawn
