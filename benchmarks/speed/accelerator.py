"""A ResNet-18 and a ViT-B/16 on an accelerator, where copies and waiting are what can be lost.

The floor is the same model's forward passes at the same precision over inputs that lie on the device.
Ours and the peers begin with inputs in the host's memory.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed import ours
from benchmarks.speed.child import say, serve
from benchmarks.speed.contest import Contender, Values, contest
from benchmarks.speed.data import METRICS, Held, labelled
from benchmarks.speed.models import resnet18, vit_b_16
from benchmarks.speed.peers import by_hand
from benchmarks.speed.utilisation import busy
from model_eval import engine

PRECISIONS = ("fp32", "bf16")

WATCHED = 1.5
"""Seconds that a contender is repeated for while the device is asked how busy it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model with as many images as make a benchmark of it.

    Attributes:
        shape: of an image.
        batch: the floor's batch size.
    """

    build: Callable[[], torch.nn.Module]
    shape: tuple[int, int, int]
    images: int
    batch: int


CASES: Mapping[str, Case] = {
    "ResNet-18": Case(build=resnet18, shape=(3, 32, 32), images=5_000, batch=256),
    "ViT-B/16": Case(build=vit_b_16, shape=(3, 224, 224), images=2_048, batch=64),
}


def measure(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each of the parts that `settings` names, a model and a precision each."""
    device = torch.device(settings["device"])
    return [
        _part(name, CASES[name], precision, device, settings)
        for name, precision in settings["parts"]
    ]


def _part(
    name: str, case: Case, precision: str, device: torch.device, settings: Mapping[str, Any]
) -> dict[str, Any]:
    images = settings["images"] or case.images
    say(f"{name}, {precision}, {images:,} images, {device}")
    engine.prepare(seed=0, precision=precision)  # as a run does, for everybody
    model = case.build().to(device)
    x = torch.randn((images, *case.shape), generator=torch.Generator().manual_seed(0))
    resident = labelled(model, x.to(device), "classification")
    data = Held(x, resident.target, resident.task)
    floor, *contenders = _contenders(model, case.batch, precision, resident)
    found, skipped = contest(
        floor,
        contenders,
        data,
        warm_up=data.first(min(images, case.batch)),
        runs=settings["runs"],
        clock=time.perf_counter,
        say=say,
    )
    differences = dict(_differences(model, case.batch, precision, data, resident))
    return {
        "part": name,
        "precision": precision,
        "rows": images,
        "shape": list(case.shape),
        "batch": case.batch,
        "device": engine.describe_device(device, requested=str(device)).name,
        "threads": settings["threads"],
        "runs": settings["runs"],
        "contenders": [
            {
                **one.row(),
                **differences.get(one.contender.name, {}),
                "busy": _watched(partial(one.contender.run, data), device),
            }
            for one in found
        ],
        "skipped": [{"name": one.contender.name, "why": one.why} for one in skipped],
    }


def _contenders(
    model: torch.nn.Module, batch: int, precision: str, resident: Held
) -> Iterator[Contender]:
    device = resident.x.device

    def cast() -> AbstractContextManager[Any]:
        dtype = torch.bfloat16 if precision == "bf16" else None
        return torch.autocast(device.type, dtype=dtype) if dtype else nullcontext()

    def forward(data: Held) -> Values:
        with torch.inference_mode(), cast():
            for x, _ in resident.first(len(data)).slices(batch):
                model(x)
        _wait(device)
        return {}

    def copied(data: Held) -> Values:
        with torch.inference_mode(), cast():
            for x, _ in data.slices(batch):
                model(x.to(device))
        _wait(device)
        return {}

    def by_loader(data: Held) -> Values:
        with cast():
            moved = ((x.to(device), target.to(device)) for x, target in data.loader(batch))
            return by_hand.plain(model, moved, data.task)

    def run(options: ours.Options, data: Held) -> Values:
        rows, more = ours.evaluated(model, data, options)
        return {**ours.values(rows, METRICS[data.task]), **more}

    name = f"forward passes alone, batch {batch}"
    yield Contender(name=f"{name}, inputs on the device", kind="floor", run=forward)
    yield Contender(name=f"{name}, each copied before", kind="reference", run=copied)
    for title, options in _options(batch, precision, device):
        yield Contender(name=title, kind="ours", run=partial(run, options))
    yield Contender(name="DataLoader, by hand, accuracy only", kind="peer", run=by_loader)


def _options(
    batch: int, precision: str, device: torch.device
) -> Iterator[tuple[str, ours.Options]]:
    for size, memory_format in (
        (batch, ours.CONTIGUOUS),
        (ours.AUTO, ours.CONTIGUOUS),
        (ours.AUTO, "channels_last"),
    ):
        name = f"model-eval, batch {size}"
        yield (
            name if memory_format == ours.CONTIGUOUS else f"{name}, {memory_format}",
            ours.Options(
                batch=size, precision=precision, memory_format=memory_format, device=str(device)
            ),
        )


@torch.inference_mode()
def _differences(
    model: torch.nn.Module, batch: int, precision: str, data: Held, resident: Held
) -> Iterator[tuple[str, dict[str, float | int]]]:
    """Of each of ours: from the eager float32 outputs at the floor's batch size."""
    eager: Tensor = torch.cat([model(x) for x, _ in resident.slices(batch)])
    expected = eager.double().log_softmax(dim=1).cpu().numpy()
    for name, options in _options(batch, precision, resident.x.device):
        rows = ours.ledger(model, data, options)
        changed = rows["prediction"] != expected.argmax(axis=1)
        yield (
            name,
            {
                "difference": float(np.abs(rows["score"] - expected).max()),
                "changed_predictions": int(np.count_nonzero(changed)),
            },
        )


def _watched(run: Callable[[], object], device: torch.device) -> float | None:
    """The share of time in which the device computed, while a contender is run again and again."""
    if device.type != "cuda":
        return None
    with busy(device) as watched:
        until = time.perf_counter() + WATCHED
        while time.perf_counter() < until:
            run()
    return watched.share


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


if __name__ == "__main__":
    serve(measure)
