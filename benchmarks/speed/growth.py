"""How memory grows with rows: the peak of ledger and metrics, beside the ledger's own bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.speed import ours
from benchmarks.speed.child import in_child, say, serve
from benchmarks.speed.data import METRICS, Held, Task, labelled
from benchmarks.speed.floor import BATCH
from benchmarks.speed.memory import peak_extra
from benchmarks.speed.models import mlp

_MILLION, _MIB = 1_000_000, 2**20


def compare(
    rows: int, *, threads: int, tasks: Sequence[Task] = tuple(METRICS)
) -> list[dict[str, Any]]:
    """At `rows` and at twice as many; the difference is what a further million costs."""
    found = []
    for task in tasks:
        small, large = (
            in_child("benchmarks.speed.growth", {"rows": count, "task": task}, threads=threads)
            for count in (rows, 2 * rows)
        )
        found.append(
            {
                "part": task,
                "rows": [rows, 2 * rows],
                "peak_mib": [round(one["peak"] / _MIB, 1) for one in (small, large)],
                "ledger_mib": [round(one["ledger"] / _MIB, 1) for one in (small, large)],
                "peak_mib_per_million": _per_million(large["peak"] - small["peak"], rows),
                "ledger_mib_per_million": _per_million(large["ledger"] - small["ledger"], rows),
            }
        )
        say(f"memory: {found[-1]}")
    return found


def _per_million(difference: int, rows: int) -> float:
    return round(difference / rows * _MILLION / _MIB, 1)


def one(settings: Mapping[str, Any]) -> dict[str, int]:
    """Bytes at the peak beyond model and inputs, and of the ledger."""
    regression = settings["task"] == "regression"
    model = mlp(1 if regression else 10)
    x = torch.randn((settings["rows"], 64), generator=torch.Generator().manual_seed(0))
    data = labelled(model, x, settings["task"])
    names = METRICS[settings["task"]]
    options = ours.Options(batch=BATCH)
    _evaluate(model, data.first(4 * BATCH), options, names)
    ours.source(data)
    peak, rows = peak_extra(lambda: _evaluate(model, data, options, names))
    return {"peak": peak, "ledger": ours.bytes_of(rows)}


def _evaluate(model: torch.nn.Module, data: Held, options: ours.Options, names: Any) -> Any:
    rows = ours.ledger(model, data, options)
    ours.values(rows, names)
    return rows


if __name__ == "__main__":
    serve(one)
