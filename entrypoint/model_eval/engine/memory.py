"""How much memory a batch took, how much there is for a larger one, and how torch says there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from model_eval.errors import OutOfMemoryError
from model_eval.wording import count

_CGROUP = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")
_CLEAR_PEAK = "5"
_WORDS = (
    # what torch raises as a plain RuntimeError, or as an AcceleratorError
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)


def free(device: torch.device) -> int | None:
    """Bytes that the process could still take on the device; None where nobody says."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    if device.type != "cpu":
        return None
    known = [_host(), _cgroup()]
    return min((found for found in known if found is not None), default=None)


class Peak:
    """Measures the most memory that something takes, above what was taken before it.

    On the CPU this is the peak of the process, which Linux lets be set back, above what the process
    had when this was made: what it freed since it may have kept (`allocator`). Where Linux does not,
    nothing is known. What the peak was before is kept: see `peak_resident`.
    """

    highest = 0
    """Bytes: of the process, before it was set back."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at_first = _status("VmRSS")
        self._before: int | None = None

    def begin(self) -> None:
        """Sets the peak to what is taken now."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return
        Peak.highest = peak_resident() or 0
        try:
            Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
            self._before = self._at_first
        except OSError:
            self._before = None

    def taken(self) -> int | None:
        """Bytes since `begin`, at most; None where that is not known."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device)) - self._before
        peak = _status("VmHWM")
        return None if peak is None else max(0, peak - self._before)


def peak_resident() -> int | None:
    """Bytes of memory that the process had at most since its start; None where nobody says.

    Not `ru_maxrss`: a child process begins with its parent's, and this one is a child.
    """
    now = _status("VmHWM")
    return None if now is None else max(now, Peak.highest)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this is how torch, NumPy or Python say that memory ended."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )


@contextmanager
def memory_for(rows: int, what: str = "outputs") -> Iterator[None]:
    """Where memory is taken for the outputs of so many samples: `OutOfMemoryError` where it ends."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"the {what} of {count(rows, 'sample')} do not fit in memory",
            remedy=remedy_for(rows),
        ) from error


def remedy_for(rows: int) -> str | None:
    """What to do where a batch of so many samples does not fit; None for the usual."""
    return "use a machine with more memory" if rows == 1 else None


def release(device: torch.device) -> None:
    """Gives back what torch keeps of a batch that did not fit."""
    if device.type != "cpu":
        torch.accelerator.memory.empty_cache()


def _host() -> int | None:
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _cgroup() -> int | None:
    """What the container's limit leaves; its page cache counts as free, because it can go."""
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return None
    cached = 0
    for line in _text(_CGROUP / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            cached = int(value)
    return max(0, limit - used + cached)


def _status(name: str) -> int | None:
    return _field(_STATUS, name)


def _field(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
