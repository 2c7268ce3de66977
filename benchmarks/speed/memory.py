"""The peak of a process's own memory while something runs."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_KIB = 1024


def peak_extra(function: Callable[[], object]) -> tuple[int, object]:
    """Bytes at the peak beyond what was resident before, and what the function returned.

    VmHWM, the peak that Linux keeps, is set back first, and memory that was freed is given back, or
    it could be used again unseen. The function must not set the peak back itself, as the engine
    does where it measures the batch size.
    """
    _give_back()
    _CLEAR.write_text("5")
    before = _read("VmRSS")
    found = function()
    return max(0, _read("VmHWM") - before), found


def _give_back() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)


def _read(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    raise RuntimeError(f"/proc/self/status has no {field}")
