"""All calls of the product, in one place.

`UnavailableError` where this version has no such option: its contender is skipped, and the results
say so.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from benchmarks.speed.contest import UnavailableError
from benchmarks.speed.data import Held
from model_eval.engine import evaluate, make_predict
from model_eval.heldout import Batch, Labels
from model_eval.ledger import Ledger
from model_eval.metrics import Sample, estimates
from model_eval.stats.interval import Sampled, with_interval
from model_eval.stats.resample import Plan, plan_cells, plan_rows
from model_eval.tasks import Scorer
from model_eval.types import Estimate, MetricRef, OutputKind, Task

CONFIDENCE = 0.95
AUTO = "auto"

_TASKS = {"classification": Task.MULTICLASS, "regression": Task.REGRESSION}
_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a spec's `run` says. `batch` is a number, or `auto`."""

    batch: int | str = 256
    precision: str = "fp32"
    memory_format: str | None = None
    compile: bool = False


class InMemory:
    """A held-out set as tensors, sliced."""

    def __init__(self, data: Held) -> None:
        self.x = data.x
        target = data.target.numpy()
        regression = data.task == "regression"
        self.target = target.astype(np.float64)[:, None] if regression else target
        self.ids = np.arange(len(data))

    def batches(self, size: int) -> Iterator[Batch]:
        """As a `Source` of the engine."""
        for start in range(0, len(self.x), size):
            part = slice(start, start + size)
            labels = Labels(ids=self.ids[part], target=self.target[part], cluster=None, slices={})
            yield Batch(args=(self.x[part],), kwargs={}, labels=labels)


@cache
def source(data: Held) -> InMemory:
    """The set as the engine takes it; made before anything is timed, like the others' slices."""
    return InMemory(data)


def ledger(model: torch.nn.Module, data: Held, options: Options) -> Ledger:
    """What the engine makes of the model over the set.

    Raises:
        UnavailableError: this version has no such option.
    """
    if not isinstance(options.batch, int):
        raise UnavailableError("this version has no `batch_size: auto`")
    task = _TASKS[data.task]
    classes = task is Task.MULTICLASS
    scorer = Scorer(
        task=task,
        kind=OutputKind.LOGITS if classes else None,
        threshold=None,
        classes=None,
        outputs=() if classes else ("y",),
    )
    return evaluate(
        _predict(model, options),
        source(data),
        scorer,
        batch_size=options.batch,
        progress=lambda _rows: None,
    )


def _predict(model: torch.nn.Module, options: Options) -> Any:
    asked: dict[str, Any] = {}
    if options.memory_format is not None:
        asked["memory_format"] = options.memory_format
    if options.compile:
        asked["compile"] = True
    known = inspect.signature(make_predict).parameters
    if missing := [name for name in asked if name not in known]:
        raise UnavailableError(f"this version has no `run.{missing[0]}`")
    return make_predict(
        model,
        device=_CPU,
        precision=options.precision,
        output_field=None,
        transform=None,
        postprocess=None,
        **asked,
    )


def values(rows: Ledger, names: Sequence[str]) -> dict[str, float]:
    """Metric → value, NaN where there is none."""
    found = estimates(Sample(ledger=rows), [MetricRef(name=name) for name in names])
    return {one.metric.name: np.nan if one.value is None else one.value for one in found}


def with_intervals(rows: Ledger, names: Sequence[str]) -> dict[str, float]:
    """`values`, after an interval of each was made, too.

    Raises:
        RuntimeError: a metric has no interval, so that nothing would be timed.
    """
    sampled = Sampled(sample=Sample(ledger=rows), seed=0, confidence=CONFIDENCE)
    found = _intervals(sampled, names)
    return {one.metric.name: float(one.value) for one in found}


def _intervals(sampled: Sampled, names: Sequence[str]) -> list[Estimate]:
    refs = [MetricRef(name=name) for name in names]
    found = [with_interval(one, sampled) for one in estimates(sampled.sample, refs)]
    if without := [one.metric.name for one in found if one.interval is None]:
        raise RuntimeError(f"`{without[0]}` has no interval")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Replicated(Sampled):
    """A sample with another number of replicates than the product's, to compare at equal ones."""

    replicates: int

    @cached_property
    def rows(self) -> Plan:
        return replace(super().rows, replicates=self.replicates)

    @cached_property
    def cells(self) -> Plan | None:
        plan = super().cells
        return None if plan is None else replace(plan, replicates=self.replicates)


def interval(rows: Ledger, name: str, replicates: int) -> tuple[float, float, str]:
    """Low, high and method, by the method that a run chooses; from the bare ledger."""
    sampled = _Replicated(
        sample=Sample(ledger=rows), seed=0, confidence=CONFIDENCE, replicates=replicates
    )
    found = _intervals(sampled, (name,))[0].interval
    return found.low, found.high, found.method


def bootstrap(rows: Ledger, name: str, replicates: int) -> tuple[float, float, str]:
    """The percentiles of so many replicates, where a run might choose a closed form."""
    sample = Sampled(sample=Sample(ledger=rows), seed=0, confidence=CONFIDENCE)
    counted = name in {"accuracy", "f1_macro"}
    plan = (plan_cells if counted else plan_rows)(rows, seed=0, replicates=replicates)
    found = sample.values(MetricRef(name=name), plan.draws)
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high), "percentiles"


def multiclass_ledger(target: np.ndarray, prediction: np.ndarray, classes: int) -> Ledger:
    """Of classes alone: probabilities are a view of one 0, and cost nothing."""
    return Ledger(
        task=Task.MULTICLASS,
        columns={
            **_common(len(target)),
            "target": target,
            "prediction": prediction,
            "probability": np.broadcast_to(np.float32(0), (len(target), classes)),
            "log_loss": np.zeros(len(target)),
        },
        classes=tuple(str(index) for index in range(classes)),
    )


def binary_ledger(target: np.ndarray, score: np.ndarray) -> Ledger:
    """Of log-odds float32 (N,) and targets 0 or 1; what AUROC does not look at costs nothing."""
    return Ledger(
        task=Task.BINARY,
        columns={
            **_common(len(target)),
            "target": target,
            "prediction": np.broadcast_to(np.int64(0), len(target)),
            "probability": score,
            "score": score,
            "log_loss": np.broadcast_to(0.0, len(target)),
        },
        classes=("negative", "positive"),
    )


def regression_ledger(target: np.ndarray, prediction: np.ndarray) -> Ledger:
    """Of one output."""
    return Ledger(
        task=Task.REGRESSION,
        columns={
            **_common(len(target)),
            "target": target[:, None],
            "prediction": prediction[:, None],
        },
        outputs=("y",),
    )


def _common(rows: int) -> dict[str, np.ndarray]:
    return {"id": np.arange(rows), "finite": np.broadcast_to(np.bool_(True), rows)}


def bytes_of(rows: Ledger) -> int:
    """Of the ledger's columns."""
    return sum(column.nbytes for column in rows.columns.values())
