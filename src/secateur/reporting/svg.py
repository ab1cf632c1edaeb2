"""The little of SVG that the charts need: elements, a scale with round ticks, text width.

Everything returns `Markup`; every string that comes from a user is escaped on the way in. Colours
are never written here: shapes carry classes, and the style sheet knows light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """Make one element; `class_` is its class, `_` in other names stands for `-`.

    Example:
        >>> print(tag("text", "a < b", x=1, text_anchor="end", class_="mute"))
        <text x="1" text-anchor="end" class="mute">a &lt; b</text>
    """
    shown = Markup("").join(
        Markup(' {}="{}"').format(_attribute(key), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup("<{}{}/>").format(Markup(name), shown)
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), shown, inside)


def picture(
    children: Iterable[Markup],
    *,
    width: float,
    height: float,
    title: str,
    description: str = "",
    class_: str = "chart",
    stretch: bool = False,
    role: str = "img",
) -> Markup:
    """Make a whole drawing with its name, and the same in words for those who cannot see it.

    A drawing with parts that can be focused has the role `group`.
    """
    words = [tag("title", title)]
    if description:
        words.append(tag("desc", description))
    return tag(
        "svg",
        *words,
        *children,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        role=role,
        aria_label=f"{title}. {description}" if description else title,
        class_=class_,
        preserveAspectRatio="none" if stretch else None,
    )


def _attribute(key: str) -> Markup:
    if key in ("viewBox", "preserveAspectRatio"):
        return Markup(key)
    return Markup(key.rstrip("_").replace("_", "-"))


def _value(value: object) -> str:
    # A tenth of a pixel is finer than the eye; more digits only make the page heavier.
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels, with round ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def scale(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    zero: bool = False,
    within: tuple[float, float] | None = None,
    ticks: int = 4,
    rounded: bool = True,
) -> Scale:
    """Fit a scale to values: about `ticks` round steps, from zero and never past `within` if asked.

    Example:
        >>> scale([0.18, 0.91], 200, 0, within=(0, 1)).ticks
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < 1e-9 * max(1.0, abs(high)):
        reach = abs(high) * 0.1 if abs(high) > 1e-6 else 1.0
        low, high = (low, high + reach) if zero and low == 0 else (low - reach, high + reach)
    if within:
        low, high = max(low, within[0]), min(high, within[1])
        if low == high:
            low, high = within
    step = _round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if within:
        first = max(first, math.ceil(within[0] / step - 1e-9))
        last = min(last, math.floor(within[1] / step + 1e-9))
    marks = [number * step for number in range(first, last + 1)]
    if rounded:
        low, high = min(low, marks[0]), max(high, marks[-1])
    shown = tuple(round(mark, 12) for mark in marks if low - 1e-12 <= mark <= high + 1e-12)
    return Scale(low, high, start, end, shown)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * 0.999)


def text_width(text: str, size: float = 11) -> float:
    """Guess how wide text will be in a sans-serif face, a little on the wide side."""
    return len(text) * size * 0.6
