"""(e) From a cold start to a verdict: whole processes, with a warm disk.

`model-eval run` on the digits example beside nothing but the imports of what else people use.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed import importtime
from benchmarks.speed.child import say

DIGITS = Path(__file__).parents[2] / "examples/digits/model-eval.yaml"
DEAREST = 15
BASE = "import torch"

_PYTHON = sys.executable
_RUN = ("-m", "model_eval", "run", str(DIGITS))
_VALIDATE = ("-m", "model_eval", "validate", str(DIGITS))
IMPORTS = (
    "torchmetrics",
    "torcheval.metrics",
    "ignite.metrics",
    "lightning",
    "sklearn.metrics",
    "scipy.stats",
)


def compare(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Medians in seconds of whole processes, in turn, and what the imports of a run cost.

    Args:
        settings: `runs`; and `program`, the interpreter of an environment with nothing but the
            product. Beside the peers pyarrow finds their pandas and imports it, which is no cost
            of ours.
    """
    own = settings["program"] or _PYTHON
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python": ([own, "-c", ""], "floor"),
            BASE: ([own, "-c", BASE], "floor"),
            "model-eval validate": ([own, *_VALIDATE], "ours"),
            "model-eval run, digits, to the verdict": ([own, *_RUN, "--output", folder], "ours"),
            **{f"import {name}": ([_PYTHON, "-c", f"import {name}"], "peer") for name in IMPORTS},
        }
        for name, (command, _) in commands.items():
            say(f"warming up: {name}")
            _seconds(command)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(settings["runs"]):
            order = list(commands)
            random.Random(number).shuffle(order)
            for name in order:
                taken[name].append(_seconds(commands[name][0]))
                say(f"round {number + 1}: {name}: {taken[name][-1]:.2f} s")
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        return {
            "part": "start",
            "runs": settings["runs"],
            "own_environment": own != _PYTHON,
            "contenders": [
                {
                    "name": name,
                    "kind": kind,
                    "seconds": round(medians[name], 3),
                    "beyond_torch": round(medians[name] - medians[BASE], 3),
                }
                for name, (_, kind) in commands.items()
            ],
            "imports": {
                "run --in-process": _imports([own, *_RUN, "--in-process", "--output", folder]),
                "validate": _imports([own, *_VALIDATE]),
            },
        }


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environ())
    took = time.perf_counter() - started
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
    return took


def _environ() -> dict[str, str]:
    """Bytecode is written and read, as on a machine where something ran before."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _imports(command: list[str]) -> dict[str, Any]:
    traced = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(traced, capture_output=True, text=True, check=True, env=_environ())
    modules = list(importtime.read(done.stderr))
    packages = importtime.by_package(modules)
    return {
        "modules": len(modules),
        "milliseconds": _milliseconds(sum(one.own for one in modules)),
        "of_torch": _milliseconds(packages.get("torch", 0)),
        "packages": {
            name: _milliseconds(own) for name, own in list(packages.items())[: DEAREST + 1]
        },
        "dearest_but_torch": [
            {"module": one.name, "own_ms": _milliseconds(one.own)}
            for one in importtime.dearest(modules, DEAREST)
        ],
    }


def _milliseconds(microseconds: int) -> float:
    return round(microseconds / 1000, 1)
