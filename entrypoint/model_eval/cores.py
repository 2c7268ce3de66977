"""How many cores this process was given, which is not how many the machine has.

A process with a quota of two cores that starts sixty-four threads is stopped for most of each period.
"""

import os
from math import ceil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """The cores that this process may use: its affinity, and the quota of its control group.

    Args:
        cgroup: where the control group's files are, of version 2 or 1.

    Returns:
        At least 1; a part of a core counts as one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(allowed or 1, ceil(quota) if quota is not None else allowed or 1))


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time in each period; None where there is no limit."""
    limit, period = (*_words(cgroup / "cpu.max"), "", "")[:2]
    if not limit:
        limit = "".join(_words(cgroup / "cpu" / "cpu.cfs_quota_us"))
        period = "".join(_words(cgroup / "cpu" / "cpu.cfs_period_us"))
    if not limit.isdecimal() or not period.isdecimal() or not int(period):
        return None
    return int(limit) / int(period)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []
