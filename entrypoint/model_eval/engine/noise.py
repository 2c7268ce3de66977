"""The noise floor: what is left of a number when the same samples are run in other ways.

Sums in another order give other last digits, so that a batch of one, another batch size or another
device answer a little differently. What that does to a gated metric is measured on a few samples;
a margin smaller than it is no margin. A model whose outputs hang on the other samples of a batch
(batch statistics, attention over the batch) shows here, too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import isfinite

import torch
from torch import Tensor

from model_eval.engine.predict import Predict
from model_eval.engine.repeat import numbers
from model_eval.engine.rescore import ledger_of, outputs_of
from model_eval.engine.sample import Sample
from model_eval.errors import EvaluationError, ModelEvalError
from model_eval.metrics import estimates, weighted
from model_eval.tasks import Scorer
from model_eval.types import MetricRef, NoiseInfo, NoiseMetric

ROWS = 32
"""Samples that are run, all in one batch first."""

CLOSER, SHOWS = 512, 1e-3
"""Where a metric differs by more than last digits do, so many samples are run: of 32 a single one that changes
sides moves a share by 0.03, of whatever set."""

SMALLER = (8, 1)
"""Sizes of the batches that they are run in again."""


def measure_noise(
    predict: Predict,
    sample: Sample,
    scorer: Scorer,
    refs: Iterable[MetricRef],
    *,
    on_cpu: Callable[[], Predict] | None,
) -> NoiseInfo:
    """Runs the first samples in batches of `ROWS`, then again, in smaller ones, and elsewhere.

    These are `ROWS`, and `CLOSER` where that shows in a metric. A way in which the model cannot be run is left out and named; nothing here fails the run.

    Args:
        predict: as in the accuracy pass.
        sample: held-out samples in memory.
        scorer: of the task.
        refs: the gated metrics of the ledger.
        on_cpu: gives the same model on the CPU; None where it is there already.
    """
    wanted = tuple(refs)
    found = _measured(predict, sample.first(ROWS), scorer, wanted, on_cpu)
    if len(sample) == found.samples or not any(_shows(one) for one in found.metrics):
        return found
    closer = _measured(predict, sample.first(CLOSER), scorer, wanted, on_cpu)
    if closer.skipped != found.skipped:  # it could not be run in all of the same ways
        return found
    return replace(
        closer,
        repeat_difference=_worst([found.repeat_difference, closer.repeat_difference]),
        batch_difference=_worst([found.batch_difference, closer.batch_difference]),
        device_difference=_worst([found.device_difference, closer.device_difference]),
        metrics=tuple(_at_least(one, found, closer.samples) for one in closer.metrics),
    )


def _at_least(closer: NoiseMetric, found: NoiseInfo, samples: int) -> NoiseMetric:
    """What was seen among the first samples is there among more, where it moves a metric by less."""
    first = {one.metric: one.difference for one in found.metrics}.get(closer.metric)
    if first is None or closer.difference is None:
        return closer
    return replace(closer, difference=max(closer.difference, first * found.samples / samples))


def _shows(found: NoiseMetric) -> bool:
    return found.difference is None or found.difference > SHOWS


def _measured(
    predict: Predict,
    few: Sample,
    scorer: Scorer,
    refs: tuple[MetricRef, ...],
    on_cpu: Callable[[], Predict] | None,
) -> NoiseInfo:
    ways = _Ways(few, scorer, refs)
    if not ways.begin(predict):
        return NoiseInfo(samples=0, skipped=tuple(ways.skipped))
    again = ways.compare("the same batch again", lambda: outputs_of(predict, few, ROWS))
    smaller = [
        ways.compare(f"batches of {size}", lambda size=size: outputs_of(predict, few, size))  # type: ignore[misc]
        for size in SMALLER
        if size < len(few)
    ]
    elsewhere = None
    if on_cpu is not None:
        elsewhere = ways.compare("the CPU", lambda: outputs_of(on_cpu(), few, ROWS))
    return NoiseInfo(
        samples=len(few),
        largest_output=_largest(ways.reference),
        repeat_difference=again,
        batch_difference=_worst(smaller),
        device_difference=elsewhere,
        metrics=ways.differences(),
        skipped=tuple(ways.skipped),
    )


@dataclass(slots=True)
class _Ways:
    """What the ways of running the samples gave so far."""

    sample: Sample
    scorer: Scorer
    refs: tuple[MetricRef, ...]
    skipped: list[str] = field(default_factory=list)
    values: list[dict[MetricRef, float | None]] = field(default_factory=list)
    reference: Tensor = field(default_factory=lambda: torch.empty(0, device="cpu"))

    def begin(self, predict: Predict) -> bool:
        """Runs the way that the others are compared with; False where that fails."""
        try:
            outputs = outputs_of(predict, self.sample, ROWS)
            self.reference, _ = numbers(outputs)
            self.values.append(self._score(outputs))
        except ModelEvalError as error:
            self.skipped.append(f"batches of {ROWS}: {error.message}")
            return False
        return True

    def compare(self, name: str, run: Callable[[], Tensor]) -> float | None:
        """The largest difference of outputs; None, and the reason kept, where there is none."""
        try:
            outputs = run()
            # Scored first: that outputs are finite in one way only undoes the metrics, too.
            self.values.append(self._score(outputs))
            found = largest_difference(self.reference, numbers(outputs)[0])
        except ModelEvalError as error:
            self.skipped.append(f"{name}: {error.message}")
            return None
        return found

    def _score(self, outputs: Tensor) -> dict[MetricRef, float | None]:
        ledger = ledger_of(outputs, self.sample, self.scorer)
        return {one.metric: one.value for one in estimates(weighted(ledger), self.refs)}

    def differences(self) -> tuple[NoiseMetric, ...]:
        """Of each metric between the first way and any other; left out where none defines it."""
        found = []
        for ref in self.refs:
            values = [way[ref] for way in self.values]
            known = [value for value in values if value is not None]
            if not known:
                continue
            differs = max(abs(value - known[0]) for value in known)
            whole = len(known) == len(values) and isfinite(differs)
            found.append(NoiseMetric(metric=ref, difference=differs if whole else None))
        return tuple(found)


def largest_difference(one: Tensor, other: Tensor) -> float:
    """The largest |a - b|; NaN and NaN are the same, as are infinities of one sign.

    Raises:
        EvaluationError: the shapes differ, or one is finite where the other is not.
    """
    if one.shape != other.shape:
        raise EvaluationError(
            f"the outputs have the shapes {tuple(one.shape)} and {tuple(other.shape)}",
            remedy="an output must have the same shape for every batch",
        )
    same = (one == other) | (one.isnan() & other.isnan())
    apart = (one - other).abs()[~same]
    if not apart.isfinite().all():
        raise EvaluationError(
            "some outputs are finite in one way of running them only",
            remedy="look for an overflow: in fp16 activations end at 65504",
        )
    return float(apart.max()) if apart.numel() else 0.0


def _largest(outputs: Tensor) -> float | None:
    finite = outputs[outputs.isfinite()]
    return float(finite.abs().max()) if finite.numel() else None


def _worst(differences: list[float | None]) -> float | None:
    known = [value for value in differences if value is not None]
    return max(known, default=None)
