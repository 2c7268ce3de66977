"""A measurement in a process of its own, with so many threads on so many cores.

Pools of threads are made once in a process, and some libraries ask for cores and not for
OMP_NUM_THREADS. On one core, one thread means one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def in_child(
    module: str,
    settings: Mapping[str, Any],
    *,
    threads: int,
    environ: Mapping[str, str] = os.environ,
) -> Any:
    """What `serve` of the module's process measured, as JSON.

    Args:
        module: whose process it is.
        settings: what it is told.
        threads: of OpenMP, on so many cores.
        environ: of the process, but for the threads.

    Raises:
        subprocess.CalledProcessError: it failed; its own words are on the screen.
        ValueError: there are fewer cores than threads.
    """
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise ValueError(f"{threads} threads need as many cores, and there are {len(cores)}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        subprocess.run(
            [sys.executable, "-m", module, json.dumps({**settings, "threads": threads}), output],
            check=True,
            env={**environ, "OMP_NUM_THREADS": str(threads)},
            preexec_fn=lambda: os.sched_setaffinity(0, cores[:threads]),
        )
        return json.loads(output.read_text())


def serve(measure: Callable[[Mapping[str, Any]], Any]) -> None:
    """The other end: measures with the settings of the command line."""
    settings, output = sys.argv[1:]
    Path(output).write_text(json.dumps(measure(json.loads(settings))))


def say(text: str) -> None:
    """A line of progress."""
    print(f"    {text}", file=sys.stderr, flush=True)
