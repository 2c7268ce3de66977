"""(a) An MLP over many rows: where everything but the forward passes shows.

Classification (accuracy, macro precision, recall and F1), the same with one-vs-rest macro AUROC, and
regression (MSE, RMSE, MAE, R²). Every peer at the floor's batch size, over slices of tensors and over
a `DataLoader` as usually written.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from benchmarks.speed import floor, ours
from benchmarks.speed.apart import Apart, answer, main
from benchmarks.speed.child import say, serve
from benchmarks.speed.contest import (
    Contender,
    Result,
    Skipped,
    Values,
    contest,
    largest_difference,
)
from benchmarks.speed.data import AUROC, METRICS, Held, Task, labelled
from benchmarks.speed.models import mlp
from benchmarks.speed.peers import by_hand, ignite, lightning, sklearn, torcheval, torchmetrics

INFORMATION = (1024, 4096)
"""Batch sizes of the floor, for information."""

PEERS: Mapping[str, Callable[..., Values]] = {
    "torchmetrics": torchmetrics.evaluate,
    "torcheval": torcheval.evaluate,
    "scikit-learn": sklearn.evaluate,
    "ignite": ignite.evaluate,
    "Lightning test": lightning.evaluate,
}
LOADED = ("torchmetrics", "scikit-learn", "ignite", "Lightning test")
"""Peers that are measured with a `DataLoader`, too."""

LOADED_AUROC = ("scikit-learn", "Lightning test")
BATCH = floor.BATCH
PARTS = ("classification", "auroc", "regression")
Outcome = tuple[list[Result], list[Skipped]]


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each of the parts that `settings` names.

    Ours run in a process of their own, as in a run. Peers come after all others: what they import stays in the process, and slows what follows.
    """
    first = {part: _contest(part, settings, peers=False) for part in settings["parts"]}
    return [_part(part, settings, first[part]) for part in settings["parts"]]


def _part(part: str, settings: Mapping[str, Any], first: Outcome) -> dict[str, Any]:
    model, data, task = _made(part, settings)
    (_, *peers), without = _contest(part, settings, peers=True)
    found, skipped = [*first[0], *peers], [*first[1], *without]
    reference = sklearn.evaluate(model, data.slices(BATCH), task, auroc=part == "auroc")
    return {
        "part": part,
        "rows": settings["rows"],
        "batch": BATCH,
        "threads": settings["threads"],
        "runs": settings["runs"],
        "contenders": [
            {**one.row(), "difference": largest_difference(one.values, reference)} for one in found
        ],
        "skipped": [{"name": one.contender.name, "why": one.why} for one in skipped],
    }


def _contest(part: str, settings: Mapping[str, Any], *, peers: bool) -> Outcome:
    model, data, task = _made(part, settings)
    auroc = part == "auroc"
    for size in (BATCH, *INFORMATION):
        data.slices(size)
    say(
        f"MLP, {part}, {'peers' if peers else 'ours'}, {settings['rows']:,} rows, "
        f"{settings['threads']} thread(s)"
    )

    def against(contenders: Iterable[Contender], settle: Callable[[], object]) -> Outcome:
        return contest(
            floor.forward(model),
            list(contenders),
            data,
            warm_up=data.first(8 * BATCH),
            runs=settings["runs"],
            clock=time.perf_counter,
            say=say,
            settle=settle,
        )

    if peers:
        return against(_peers(model, task, auroc), gc.collect)
    with Apart("benchmarks.speed.mlp", {**settings, "part": part}) as apart:
        own = (*_floors(model, part), *apart.contenders(), _sums(model, task, auroc))
        return against(own, apart.settle)


def _apart(settings: Mapping[str, Any]) -> None:
    """The process of our own contenders."""
    part = settings["part"]
    model, data, task = _made(part, settings)
    data.slices(BATCH)
    ours.source(data)
    kept = floor.forward(model, where=floor.APART)
    answer([kept, *_ours(model, task, auroc=part == "auroc")], data)


def _made(part: str, settings: Mapping[str, Any]) -> tuple[torch.nn.Module, Held, Task]:
    task: Task = "regression" if part == "regression" else "classification"
    model = mlp(1 if task == "regression" else 10)
    x = torch.randn((settings["rows"], 64), generator=torch.Generator().manual_seed(0))
    return model, labelled(model, x, task), task


def _floors(model: torch.nn.Module, part: str) -> Iterator[Contender]:
    for size in INFORMATION if part != "auroc" else ():
        yield floor.forward(model, size)


def _ours(model: torch.nn.Module, task: Task, *, auroc: bool) -> Iterator[Contender]:
    names = METRICS[task]
    for batch in (BATCH, ours.AUTO):
        options = ours.Options(batch=batch)

        def add(what: str, score: Callable[..., Values], options=options) -> Contender:
            def run(data: Held) -> Values:
                rows, found = ours.evaluated(model, data, options)
                return {**score(rows), **found}

            name = f"model-eval: ledger{what}, batch {options.batch}"
            return Contender(name=name, kind="ours", run=run)

        if auroc:
            every = (*names, AUROC)
            yield add(", metrics, AUROC", lambda rows, every=every: ours.values(rows, every))
            yield add(
                ", metrics, AUROC, intervals",
                lambda rows, every=every: ours.with_intervals(rows, every),
            )
            continue
        yield add("", lambda _rows: {})
        yield add(", metrics", lambda rows: ours.values(rows, names))
        if (
            task == "classification"
        ):  # whose wide columns the engine leaves until they are asked for
            yield add(
                ", every column, metrics",
                lambda rows: ours.every_column(rows) or ours.values(rows, names),
            )
        yield add(", metrics, intervals", lambda rows: ours.with_intervals(rows, names))


def _sums(model: torch.nn.Module, task: Task, auroc: bool) -> Contender:
    asked = {"auroc": True} if auroc else {}

    def run(data: Held) -> Values:
        return by_hand.sums(model, data.slices(BATCH), task, **asked)

    return Contender(name="sums kept on the device", kind="reference", run=run)


def _peers(model: torch.nn.Module, task: Task, auroc: bool) -> Iterator[Contender]:
    asked = {"auroc": True} if auroc else {}

    def sliced(function: Callable[..., Values]) -> Callable[[Held], Values]:
        return lambda data: function(model, data.slices(BATCH), task, **asked)

    def loaded(function: Callable[..., Values], **more: Any) -> Callable[[Held], Values]:
        return lambda data: function(model, data.loader(BATCH), task, **more)

    for name, function in PEERS.items():
        yield Contender(name=f"{name}, slices", kind="peer", run=sliced(function))
    if not auroc:
        metric = "accuracy" if task == "classification" else "MSE"
        yield Contender(
            name=f"DataLoader, by hand, {metric} only", kind="peer", run=loaded(by_hand.plain)
        )
    for name in LOADED_AUROC if auroc else LOADED:
        yield Contender(name=f"DataLoader, {name}", kind="peer", run=loaded(PEERS[name], **asked))


if __name__ == "__main__":
    main(lambda: serve(measure), _apart)
