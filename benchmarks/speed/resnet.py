"""(b) A ResNet-18 on 3x32x32 images: where the forward passes are all there is.

Every peer is at the floor here, so what counts is how far it can be lowered, and what that does to
the outputs: each of our contenders has the largest difference of its log-probabilities from the
eager forward passes at batch 256.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.speed import floor, ours, store
from benchmarks.speed.apart import Apart, answer, main
from benchmarks.speed.child import say, serve
from benchmarks.speed.contest import Contender, UnavailableError, Values, contest
from benchmarks.speed.data import METRICS, Held, labelled
from benchmarks.speed.models import resnet18
from benchmarks.speed.peers import by_hand, ignite, lightning, sklearn, torcheval, torchmetrics

BATCH = floor.BATCH
FIXED = (32, 64, 128, 256)
"""Batch sizes at which we have a floor of our own."""

OFFERS = {
    "channels_last": {"memory_format": "channels_last"},
    "bf16": {"precision": "bf16"},
    "channels_last, bf16": {"memory_format": "channels_last", "precision": "bf16"},
    "compile": {"compile": True},
}
"""What `run:` offers on top of the defaults."""

PEERS: Mapping[str, Callable[..., Values]] = {
    "torchmetrics": torchmetrics.evaluate,
    "torcheval": torcheval.evaluate,
    "scikit-learn": sklearn.evaluate,
    "ignite": ignite.evaluate,
    "Lightning test": lightning.evaluate,
}


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry, with the second run from the store in it."""
    images, threads = settings["images"], settings["threads"]
    say(f"ResNet-18, {images:,} images, {threads} thread(s)")
    model, data = _made(settings)
    parts = settings["parts"]
    with Apart("benchmarks.speed.resnet", settings) as apart:
        found, skipped = contest(
            floor.forward(model),
            [
                *(_floors(model) if "fixed" in parts else ()),
                *apart.contenders(),
                *(_peers(model) if "peers" in parts else ()),
            ],
            data,
            warm_up=data.first(min(images, BATCH)),
            runs=settings["runs"],
            clock=time.perf_counter,
            say=say,
            settle=apart.settle,
        )
    differences = dict(_differences(model, data, parts))
    return [
        {
            "part": "resnet18",
            "rows": images,
            "batch": BATCH,
            "threads": threads,
            "runs": settings["runs"],
            "contenders": [
                {**one.row(), **differences.get(one.contender.name, {})} for one in found
            ],
            "skipped": [{"name": one.contender.name, "why": one.why} for one in skipped],
            "store": store.measure(data, model, threads=threads),
        }
    ]


def _made(settings: Mapping[str, Any]) -> tuple[torch.nn.Module, Held]:
    model = resnet18()
    shape = (settings["images"], 3, 32, 32)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    data = labelled(model, x, "classification")
    for size in FIXED:
        data.slices(size)
    return model, data


def _apart(settings: Mapping[str, Any]) -> None:
    """The process of our own contenders, and of floors that have its memory."""
    model, data = _made(settings)
    ours.source(data)
    sizes = FIXED if "fixed" in settings["parts"] else (BATCH,)
    kept = (floor.forward(model, size, where=floor.APART) for size in sizes)
    answer([*kept, *_ours(model, settings["parts"])], data)


def _floors(model: torch.nn.Module) -> Iterator[Contender]:
    for size in FIXED:
        if size != BATCH:
            yield floor.forward(model, size)


def _options(parts: Collection[str]) -> Iterator[tuple[str, ours.Options]]:
    for size in FIXED if "fixed" in parts else ():
        yield f"model-eval, batch {size}", ours.Options(batch=size)
    yield "model-eval, batch auto (defaults)", ours.Options(batch=ours.AUTO)
    for name, more in OFFERS.items() if "offers" in parts else ():
        yield f"model-eval, batch auto, {name}", ours.Options(batch=ours.AUTO, **more)
        yield f"model-eval, batch {BATCH}, {name}", ours.Options(batch=BATCH, **more)


def _ours(model: torch.nn.Module, parts: Collection[str]) -> Iterator[Contender]:
    for name, options in _options(parts):
        fixed = isinstance(options.batch, int) and options == ours.Options(batch=options.batch)

        def run(data: Held, options=options) -> Values:
            rows, found = ours.evaluated(model, data, options)
            return {**ours.values(rows, METRICS[data.task]), **found}

        own = f"forward passes alone, batch {options.batch}{floor.APART}" if fixed else None
        yield Contender(name=name, kind="ours", run=run, own=own)


def _peers(model: torch.nn.Module) -> Iterator[Contender]:
    def run(function: Callable[..., Values], *, loaded: bool) -> Callable[[Held], Values]:
        return lambda data: function(
            model, data.loader(BATCH) if loaded else data.slices(BATCH), data.task
        )

    yield Contender(
        name="sums kept on the device", kind="reference", run=run(by_hand.sums, loaded=False)
    )
    yield Contender(
        name="DataLoader, by hand, accuracy only", kind="peer", run=run(by_hand.plain, loaded=True)
    )
    for name, function in PEERS.items():
        yield Contender(name=f"DataLoader, {name}", kind="peer", run=run(function, loaded=True))


def _differences(
    model: torch.nn.Module, data: Held, parts: Collection[str]
) -> Iterator[tuple[str, dict[str, float | int]]]:
    """Of each of our contenders: from the eager outputs at batch 256, outside of what is timed."""
    with torch.inference_mode():
        eager = torch.cat([model(x) for x, _ in data.slices(BATCH)]).double()
        expected = eager.log_softmax(dim=1).numpy()
    for name, options in _options(parts):
        try:
            rows = ours.ledger(model, data, options)
        except UnavailableError:
            continue
        changed = rows["prediction"] != expected.argmax(axis=1)
        yield (
            name,
            {
                "difference": float(np.abs(rows["score"] - expected).max()),
                "changed_predictions": int(np.count_nonzero(changed)),
            },
        )


if __name__ == "__main__":
    main(lambda: serve(measure), _apart)
