"""All calls of the product, in one place.

`UnavailableError` where something cannot be done here: its contender is skipped, and the results say
so.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod

import numpy as np
import torch

from benchmarks.speed.contest import UnavailableError
from benchmarks.speed.data import Held
from model_eval import engine
from model_eval.errors import EvaluationError
from model_eval.heldout import Batch, Labels
from model_eval.ledger import Ledger
from model_eval.ledger.columns import described
from model_eval.metrics import Weighted, estimates
from model_eval.stats.interval import Sampled, with_interval
from model_eval.stats.resample import Plan, plan_cells, plan_rows
from model_eval.tasks import Scorer
from model_eval.types import Estimate, MetricRef, OutputKind, Task

CONFIDENCE = 0.95
AUTO = "auto"
CONTIGUOUS = "contiguous"

_TASKS = {"classification": Task.MULTICLASS, "regression": Task.REGRESSION}


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a spec's `run` says.

    Attributes:
        batch: a number, or `auto`.
        compile: with `auto` where it is measured to pay, as in a run; else always.
        device: where the model is.
    """

    batch: int | str = 256
    precision: str = "fp32"
    memory_format: str = CONTIGUOUS
    compile: bool = False
    device: str = "cpu"


class InMemory:
    """A held-out set as tensors, in one block."""

    def __init__(self, data: Held) -> None:
        target = data.target.numpy()
        regression = data.task == "regression"
        self._all = Batch(
            args=(data.x,),
            kwargs={},
            labels=Labels(
                ids=np.arange(len(data)),
                target=target.astype(np.float64)[:, None] if regression else target,
                cluster=None,
                slices={},
            ),
        )

    def blocks(self, _multiple: int) -> Iterator[Batch]:
        """As a `Source` of the engine."""
        yield self._all


@cache
def source(data: Held) -> InMemory:
    """The set as the engine takes it; made before anything is timed, like the others' slices."""
    return InMemory(data)


def evaluated(
    model: torch.nn.Module, data: Held, options: Options
) -> tuple[Ledger, dict[str, float]]:
    """What the engine makes of the model over the set, and what it came to.

    The latter is `batch_size`, and where it was to find out also whether it `compiled` the model.

    Raises:
        UnavailableError: it cannot be done here.
    """
    task = _TASKS[data.task]
    classes = task is Task.MULTICLASS
    scorer = Scorer(
        task=task,
        kind=OutputKind.LOGITS if classes else None,
        threshold=None,
        classes=None,
        outputs=() if classes else ("y",),
    )
    requested = None if options.batch == AUTO else int(options.batch)
    device = torch.device(options.device)
    batch_size = engine.batch_size_of(
        requested, free=lambda: engine.free(device), most=engine.most_tried(len(data))
    )
    predict = _predict(model, options, len(data))
    rows = engine.evaluate(
        predict,
        source(data),
        scorer,
        batch_size=batch_size,
        progress=lambda _rows: None,
        device=device,
        expected=len(data),
    ).whole()
    found = {"batch_size": float(batch_size.size)}
    if isinstance(predict, engine.Compiling):
        found["compiled"] = float(predict.used)
    return rows, found


def ledger(model: torch.nn.Module, data: Held, options: Options) -> Ledger:
    """The ledger alone; see `evaluated`."""
    return evaluated(model, data, options)[0]


def every_column(rows: Ledger) -> None:
    """Computes what the engine left to be computed when it is asked for, as saving a ledger does."""
    for name in rows.columns:
        rows[name]


def _predict(model: torch.nn.Module, options: Options, expected: int) -> engine.Predict:
    laid_out = _laid_out(model, options.memory_format)
    eager = _bound(laid_out, options)
    if not options.compile:
        return eager

    def compiled() -> engine.Predict:
        return _bound(_compiled(laid_out), options)

    if options.batch == AUTO:
        return engine.Compiling(
            eager, compiled, expected=expected, device=torch.device(options.device)
        )
    if not any(shutil.which(name) for name in ("g++", "clang++")):
        raise UnavailableError("there is no C++ compiler")
    return _always(eager, compiled(), int(options.batch))


def _always(eager: engine.Predict, compiled: engine.Predict, size: int) -> engine.Predict:
    """Compiled code for whole batches, whether it pays or not; another shape would compile again."""

    def predict(args: tuple[torch.Tensor, ...], kwargs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if len(args[0]) != size:
            return eager(args, kwargs)
        try:
            return compiled(args, kwargs)
        except EvaluationError as error:
            raise UnavailableError(f"torch.compile failed: {error}") from error

    return predict


def _bound(model: torch.nn.Module, options: Options) -> engine.Predict:
    return engine.make_predict(
        model,
        device=torch.device(options.device),
        precision=options.precision,
        output_field=None,
        transform=None,
        postprocess=None,
        memory_format=engine.MEMORY_FORMATS[options.memory_format],
    )


@cache
def _compiled(model: torch.nn.Module) -> torch.nn.Module:
    """Compiled at its first call, which is the warm-up's."""
    return torch.compile(model, dynamic=False)


@cache
def _laid_out(model: torch.nn.Module, memory_format: str) -> torch.nn.Module:
    """The model in this layout; a copy, because the others' stays as it is. Made at the warm-up."""
    if memory_format == CONTIGUOUS:
        return model
    copied = deepcopy(model)
    engine.lay_out(copied, memory_format)
    return copied


def values(rows: Ledger, names: Sequence[str]) -> dict[str, float]:
    """Metric → value, NaN where there is none."""
    found = estimates(Weighted(ledger=rows), [MetricRef(name=name) for name in names])
    return {one.metric.name: np.nan if one.value is None else one.value for one in found}


def with_intervals(rows: Ledger, names: Sequence[str]) -> dict[str, float]:
    """`values`, after an interval of each was made, too.

    Raises:
        RuntimeError: a metric has no interval, so that nothing would be timed.
    """
    sampled = Sampled(sample=Weighted(ledger=rows), seed=0, confidence=CONFIDENCE)
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
        sample=Weighted(ledger=rows), seed=0, confidence=CONFIDENCE, replicates=replicates
    )
    found = _intervals(sampled, (name,))[0].interval
    return found.low, found.high, found.method


def bootstrap(rows: Ledger, name: str, replicates: int) -> tuple[float, float, str]:
    """The percentiles of so many replicates, where a run might choose a closed form."""
    sample = Sampled(sample=Weighted(ledger=rows), seed=0, confidence=CONFIDENCE)
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
    """Of the ledger with all of its columns, whether they were computed or not."""
    columns = described(rows.columns).values()
    return sum(column.dtype.itemsize * prod(column.shape) for column in columns)
