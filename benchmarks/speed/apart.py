"""Contenders in a process as `model-eval run` starts it, in turn with those of the floor's process.

The product evaluates in a child with settings of its own for memory and sorting
(`model_eval.supervise.child_environ`). What is written by hand, and every peer, runs in a process as
Python starts it, and so does the floor.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from benchmarks.speed.contest import Contender, UnavailableError, Values
from benchmarks.speed.data import Held
from model_eval.supervise import child_environ

FLAG = "--apart"


class Apart:
    """The other process; a context, which it does not outlive.

    Args:
        module: whose process calls `answer`.
        settings: what it is told.
    """

    def __init__(self, module: str, settings: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, FLAG, json.dumps(dict(settings))],
            env=child_environ(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._offered = self._ask({})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def contenders(self) -> list[Contender]:
        """All that it has; what one is handed says how many rows it takes of its own data."""

        def offered(one: Mapping[str, Any]) -> Contender:
            return Contender(**one, run=lambda data: self._run(one["name"], len(data)))

        return [offered(one) for one in self._offered]

    def settle(self) -> None:
        """Collects rubbish, here and there."""
        gc.collect()
        self._ask({"settle": True})

    def _run(self, name: str, rows: int) -> Values:
        found = self._ask({"name": name, "rows": rows})
        if "unavailable" in found:
            raise UnavailableError(found["unavailable"])
        values: Values = found["values"]
        return values

    def _ask(self, question: Mapping[str, Any]) -> Any:
        """The answer to a question; `{}` asks for what there is.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dict(question)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process apart has ended; its own words are on the screen")
        return json.loads(answer)


def answer(contenders: Iterable[Contender], data: Held) -> None:
    """The other end: runs what it is asked to until nobody asks any more."""
    every = {one.name: one for one in contenders}
    sets = {len(data): data}
    for line in sys.stdin:
        question = json.loads(line)
        found: Any
        if question.get("settle"):
            found = gc.collect()
        elif question:
            rows = question["rows"]
            found = _ran(every[question["name"]], sets.setdefault(rows, data.first(rows)))
        else:
            found = [{"name": one.name, "kind": one.kind, "own": one.own} for one in every.values()]
        print(json.dumps(found), flush=True)


def _ran(one: Contender, data: Held) -> dict[str, Any]:
    try:
        return {"values": {name: float(value) for name, value in one.run(data).items()}}
    except UnavailableError as error:
        return {"unavailable": str(error)}


def main(here: Callable[[], None], there: Callable[[Mapping[str, Any]], None]) -> None:
    """Of a module that is started in both ways: `there` is given the settings of `Apart`."""
    if sys.argv[1] == FLAG:
        there(json.loads(sys.argv[2]))
    else:
        here()
