"""How much each group matters: the loss as it alone lost units, right after the cut and healed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from secateur.reporting import units
from secateur.reporting.plots import BOTTOM, LEFT, RIGHT, TOP, frame
from secateur.reporting.record import Sensitivity
from secateur.reporting.svg import picture, scale, tag

_WIDTH, _HEIGHT = 390.0, 200.0


@dataclass(frozen=True)
class SensitivityRow:
    """One group: its curve, and the same in figures."""

    group: str
    drawing: Markup
    points: tuple[tuple[str, str, str], ...]


def sensitivity_rows(curves: Sequence[Sensitivity]) -> tuple[SensitivityRow, ...]:
    """Draw every group on one scale of losses, that which matters most first."""
    known = [
        loss
        for curve in curves
        for loss in (curve.whole, *curve.cut, *curve.healed)
        if loss is not None
    ]
    ranked = sorted(curves, key=lambda curve: -max((x or 0.0 for x in curve.healed), default=0.0))
    return tuple(_row(curve, known) for curve in ranked)


def _row(curve: Sensitivity, known: Sequence[float]) -> SensitivityRow:
    shares = [count / curve.units for count in curve.removed]
    points = tuple(
        (units.percent(share), units.figure(cut), units.figure(healed))
        for share, cut, healed in zip(shares, curve.cut, curve.healed, strict=True)
    )
    x_of = scale([0.0, 100.0], LEFT + 6, _WIDTH - RIGHT - 8, rounded=False)
    y_of = scale(list(known), _HEIGHT - BOTTOM, TOP)
    drawn = frame(x_of, y_of, _WIDTH, _HEIGHT, "Units removed, %", False)
    for name, losses in (("training", curve.cut), ("validation", curve.healed)):
        pairs = zip((0.0, *shares), (curve.whole, *losses), strict=True)
        places = [(x_of(100 * x), y_of(y)) for x, y in pairs if y is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(tag("polyline", points=path, class_=f"curve {name}"))
        drawn += [tag("circle", cx=x, cy=y, r=2.5, class_=name) for x, y in places]
    words = "; ".join(f"{share} removed: {cut}, healed {healed}" for share, cut, healed in points)
    return SensitivityRow(
        curve.group,
        picture(
            drawn,
            width=_WIDTH,
            height=_HEIGHT,
            title=f"Loss as {curve.group} loses units",
            description=f"Whole: {units.figure(curve.whole)}; {words}",
        ),
        points,
    )
