"""How many threads torch may use: what the container was given, not what the machine has.

A process with a quota of two cores that starts sixty-four threads is stopped for most of each
period; torch counts the machine's cores.
"""

import os
from collections.abc import Mapping
from math import ceil
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")
_STATED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def set_threads(environ: Mapping[str, str]) -> None:
    """Sets torch's threads to the cores that there are, where the environment does not say."""
    if not any(environ.get(name) for name in _STATED):
        torch.set_num_threads(min(torch.get_num_threads(), cores()))


def cores(cgroup: Path = _CGROUP) -> int:
    """The cores that this process may use: its affinity and the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(allowed or 1, ceil(quota) if quota is not None else allowed or 1))


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time in each period, of version 2 or 1; None where there is no limit."""
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
