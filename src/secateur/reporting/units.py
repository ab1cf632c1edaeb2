"""Figures as a person reads them: all functions here take a number or None and return text.

One unit each: k/M/G for counts, KiB/MiB for bytes, ms for latency, % for shares, points between
shares. Three digits that count; a real minus sign; a dash for what was not measured.
"""

from __future__ import annotations

import math
from datetime import datetime

from markupsafe import Markup, escape

NOTHING = "–"
NO_BREAK = "\u00a0"  # between a number and its unit no line may break
_SPACE = NO_BREAK
_MINUS = "−"


def _digits(value: float, places: int = 3) -> str:
    """Format with `places` significant digits (all of them past 1000), never as a power of ten."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", _MINUS)
    rounded = float(f"{value:.{places}g}")
    after_point = max(0, places - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{min(after_point, 6)}f}".replace("-", _MINUS)


def _scaled(value: float, step: int, names: tuple[str, ...]) -> tuple[float, str]:
    scale = 0
    # 999,600 is 1.00M, not 1000k: what counts is the rounded figure.
    while scale + 1 < len(names) and max(abs(value), abs(float(f"{value:.3g}"))) >= step:
        value /= step
        scale += 1
    return value, names[scale]


def count(value: float | None) -> str:
    """Format a number of things: 61690 -> "61.7k"."""
    if value is None:
        return NOTHING
    scaled, name = _scaled(value, 1000, ("", "k", "M", "G", "T"))
    return (f"{scaled:,.0f}" if not name else _digits(scaled) + name).replace("-", _MINUS)


def whole(value: int | None) -> str:
    """Format a number of things to the last one: 61690 -> "61,690"."""
    return NOTHING if value is None else f"{value:,}".replace("-", _MINUS)


def size(value: float | None) -> str:
    """Format bytes: 246760 -> "241 KiB"."""
    if value is None:
        return NOTHING
    scaled, name = _scaled(value, 1024, ("bytes", "KiB", "MiB", "GiB", "TiB"))
    return f"{scaled:,.0f}{_SPACE}{name}" if name == "bytes" else _digits(scaled) + _SPACE + name


def ms(value: float | None) -> str:
    """Format milliseconds: 0.2134 -> "0.213 ms"."""
    if value is None:
        return NOTHING
    # Past the microsecond a timing is noise.
    return _digits(value, 3 if value >= 0.1 else 2) + _SPACE + "ms"


def percent(share: float | None) -> str:
    """Format a share: 0.9134 -> "91.3 %"."""
    return NOTHING if share is None else f"{share * 100:.1f}{_SPACE}%".replace("-", _MINUS)


def points(difference: float | None) -> str:
    """Format a difference of shares in percentage points, signed: -0.0031 -> "−0.3"."""
    if difference is None:
        return NOTHING
    text = f"{difference * 100:+.1f}".replace("-", _MINUS)
    return "±0.0" if text[1:] == "0.0" else text


def figure(value: float | None) -> str:
    """Format any other number: 0.87312 -> "0.873"."""
    return NOTHING if value is None else _digits(value)


def change(value: float | None) -> str:
    """Format a difference of two such numbers, signed: -0.0029 -> "−0.0029"."""
    if value is None:
        return NOTHING
    return ("+" if value > 0 else "") + _digits(value, 2)


def ratio(value: float | None) -> str:
    """Format how many times: 2.94 -> "2.9×"."""
    if value is None:
        return NOTHING
    return (f"{value:.1f}" if value < 9.95 else f"{value:,.0f}") + "×"


def seconds(value: float | None) -> str:
    """Format a duration: 252 -> "4 min 12 s"."""
    if value is None:
        return NOTHING
    if value < 59.95:
        return f"{value:.1f}{_SPACE}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_SPACE}min {rest}{_SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{_SPACE}h {minutes}{_SPACE}min"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Count things in words: (1, "row") -> "1 row", (2, "class", "classes") -> "2 classes"."""
    return f"{whole(number)}{_SPACE}{one if number == 1 else many or one + 's'}"


def day(iso: str) -> str:
    """Format an ISO time for people; what is no ISO time comes back as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"


def breakable(name: str) -> Markup:
    """Let a long name of a layer or file break after `_`, `/` and `.`, and nowhere else."""
    text = escape(name)
    for mark in "_/.":
        text = text.replace(mark, Markup(f"{mark}<wbr>"))
    return text
