"""What this process may use of the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return how many cores this process may use: the machine's, or the fewer it was given.

    A process may be bound to some of the cores, and a container may have a share of their time,
    which is then rounded up.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(bound or 1, _share()))


def _share() -> int:
    """Return how many cores' time the control group of a container gives; many without one."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return sys.maxsize if quota == "max" else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return sys.maxsize
