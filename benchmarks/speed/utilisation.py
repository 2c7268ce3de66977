"""How busy an NVIDIA device is, as its driver tells."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

import torch

_QUERY = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu",
    "--format=csv,noheader,nounits",
    "--loop-ms=100",
)


@dataclass(slots=True)
class Busy:
    """What was read: per cent of the driver's own last moment in which something was computed."""

    readings: list[float] = field(default_factory=list)

    @property
    def share(self) -> float | None:
        """0 to 1, of all but the first and last readings, which are of the time around; None: unknown."""
        inner = self.readings[1:-1]
        return round(fmean(inner) / 100, 3) if inner else None


@contextmanager
def busy(device: torch.device) -> Iterator[Busy]:
    """Reads it while the context lasts; the readings are there after it. Without the program: none."""
    found = Busy()
    if shutil.which(_QUERY[0]) is None:
        yield found
        return
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    with subprocess.Popen([*_QUERY, f"--id={uuid}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield found
        finally:
            process.terminate()
            found.readings = read(process.communicate()[0])


def read(text: str) -> list[float]:
    """The numbers among the program's lines; `[N/A]` and half a line at the end are none."""
    return [float(line) for line in text.split("\n")[:-1] if line.strip().isdecimal()]
