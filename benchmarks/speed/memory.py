"""The peak of a process's own memory while something runs."""

from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KIB = 1024


def peak_extra(function: Callable[[], object]) -> tuple[int, object]:
    """Bytes at the peak beyond what was resident before, and what the function returned.

    VmHWM, the peak that Linux keeps, is set back first. Memory that was freed before and is still
    with the process counts as there before; so measure in a fresh process.
    """
    _CLEAR.write_text("5")
    before = _read("VmRSS")
    found = function()
    return max(0, _read("VmHWM") - before), found


def _read(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    raise RuntimeError(f"/proc/self/status has no {field}")
