"""Quality against cost: every contender as a dot, and the line of those that nobody beats.

Filled is on the front, hollow is beaten, grey is the baseline. Whiskers span the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.comparison import Comparison, Spread, quality, quality_name
from secateur.reporting.overview import unit_of
from secateur.reporting.plots import BOTTOM, LEFT, RIGHT, TOP, Point, Role, dot, frame, labels
from secateur.reporting.standings import Axis, Text, axes, front, quality_text, quality_title
from secateur.reporting.svg import picture, scale, tag

_WIDTH, _HEIGHT = 780.0, 400.0


@dataclass(frozen=True)
class Panel:
    """The drawing of one axis: its key, what the switch says, and the drawing."""

    key: str
    title: str
    drawing: Markup


def panels(made: Comparison) -> tuple[Panel, ...]:
    """Draw quality against each cost that at least one contender has."""
    return tuple(Panel(axis.key, axis.title, _drawn(made, axis)) for axis in axes(made))


def _drawn(made: Comparison, axis: Axis) -> Markup:
    name = quality_name(made)
    best = front(made, axis)
    show_y = quality_text(name)
    points: list[Point] = []
    spreads: list[tuple[Spread, Spread]] = []
    for each in (made.baseline, *made.entrants):
        cost, good = axis.of(each), quality(each, axis.runtime, name)
        if cost is None or good is None:
            continue
        role: Role = "between" if each.name not in best else "after"
        role = "before" if each is made.baseline else role
        points.append(Point(each.name, cost.mean, good.mean, role))
        spreads.append((cost, good))
    divisor, unit, show_x = _unit(axis, max(point.x for point in points))
    share = name == "accuracy"
    lows = [value for _, good in spreads for value in (good.low, good.high)]
    middle = (min(lows) + max(lows)) / 2
    # A tenth of a point must not look like a cliff.
    lows += [max(0.0, middle - 0.025), middle + 0.025] if min(lows) >= 0 else []
    x_of = scale([p.x / divisor for p in points], LEFT + 6, _WIDTH - RIGHT - 8, zero=True)
    y_of = scale(lows, _HEIGHT - BOTTOM, TOP, within=(0.0, 1.0) if share else None)
    drawn = frame(
        x_of, y_of, _WIDTH, _HEIGHT, f"{axis.title} ({unit})" if unit else axis.title, share
    )
    at = {p.label: (x_of(p.x / divisor), y_of(p.y)) for p in points}
    way = _staircase([at[each] for each in best])
    if len(best) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in way)
        drawn.append(tag("polyline", points=path, class_="way"))
    words = []
    for point, (cost, good) in zip(points, spreads, strict=True):
        x, y = at[point.label]
        said = f"{point.label}: {show_y(point.y)} at {show_x(point.x)}"
        if good.deviation is not None:
            said += f" ({show_y(good.low)} to {show_y(good.high)} over the seeds)"
        if axis.unit == "share" and point.x:
            said += f", {1 / point.x:.2f}× as fast as the baseline"
        if point.label in best:
            said += "; nobody beats it"
        words.append(said)
        whiskers = []
        if good.deviation is not None:
            low, high = y_of(good.low), y_of(good.high)
            whiskers.append(tag("line", x1=x, x2=x, y1=low, y2=high, class_="whisker"))
            left, right = x_of(cost.low / divisor), x_of(cost.high / divisor)
            whiskers.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="whisker"))
        drawn.append(dot(x, y, point, said, *whiskers))
    strokes = list(pairwise(way))
    drawn += labels(points, [at[p.label] for p in points], strokes, show_y, _WIDTH, _HEIGHT)
    title = f"{quality_title(name)} against {axis.title[:1].lower()}{axis.title[1:]}"
    if axis.key in ("macs", "parameters"):
        title = f"{quality_title(name)} against {axis.title}"
    return picture(
        drawn,
        width=_WIDTH,
        height=_HEIGHT,
        title=title,
        description="; ".join(words),
        role="group",
    )


def _staircase(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the front: what is to be had at a cost is what the last dot gave."""
    corners: list[tuple[float, float]] = []
    for x, y in places:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _unit(axis: Axis, most: float) -> tuple[float, str, Text]:
    """Return what to divide by, the name of the unit, and how a value is written."""
    if axis.unit == "share":
        return 0.01, "% of the baseline's", units.percent
    return unit_of(axis.unit, most)
