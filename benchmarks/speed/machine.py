"""What a result is of: the machine, without its name, and versions."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "model-eval-action",
    "torch",
    "torchmetrics",
    "lightning",
    "pytorch-ignite",
    "torcheval",
    "scikit-learn",
    "scipy",
    "numpy",
    "pyarrow",
    "safetensors",
    "confidenceinterval",
)


def described() -> dict[str, Any]:
    """Processor, cores, memory, load, system, versions and the day."""
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": {
            "processor": _line("/proc/cpuinfo", "model name") or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load_before": round(os.getloadavg()[0], 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"Python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _line(file: str, start: str) -> str:
    for line in Path(file).read_text().splitlines():
        if line.startswith(start):
            return line.partition(":")[2].strip()
    return ""
