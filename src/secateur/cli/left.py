"""How long a thing that is counted will still take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_COUNTED = re.compile(r"trial (\d+)/(\d+): ")


class TimeLeft:
    """Tells the time left by the pace since the first count; what was done before has no pace.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._start: float | None = None
        self._first = 0

    def told(self, done: int, of: int) -> str:
        """Return the time left in words; nothing while there is no pace, or nothing is left."""
        if self._start is None:
            self._start, self._first = self._clock(), done
        if done <= self._first or done >= of:
            return ""
        pace = (self._clock() - self._start) / (done - self._first)
        return f"{duration(pace * (of - done))} left"


def paced(
    say: Callable[[str], None], *, moving: bool = True, left: TimeLeft | None = None
) -> Callable[[str], None]:
    """Return a function that tells lines, and with those that count trials the time left.

    Args:
        say: tells a line.
        moving: whether somebody watches; a log gets the lines as they are.
        left: tells the time left.
    """
    left = left or TimeLeft()

    def told(line: str) -> None:
        found = _COUNTED.match(line)
        # A search that goes on begins its count at the trials that were done before.
        time_left = left.told(int(found[1]), int(found[2])) if found else ""
        say(f"{line} ({time_left})" if time_left and moving else line)

    return told


def duration(seconds: float) -> str:
    """Return a time in words, in the two largest units that it has."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"
