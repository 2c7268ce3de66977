"""Runs untrained models on the samples that the checkpoint was judged on; see `checks`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from model_eval.checks import CONTROL_FAILED, TRIALS, is_worse, most_are_worse
from model_eval.engine.predict import Predict
from model_eval.engine.rescore import ledger_of, outputs_of, rows_of
from model_eval.engine.sample import Sample
from model_eval.errors import ModelEvalError
from model_eval.ledger import Ledger
from model_eval.metrics import Weighted, compute, estimates, weighted
from model_eval.metrics.rows import FloatArray
from model_eval.numerics import numpys_own
from model_eval.tasks import Scorer
from model_eval.types import ControlInfo, ControlMetric, ControlTrial, MetricRef

MIN_ROWS = 100
"""With fewer samples an untrained model may be ahead by chance, and a standard error is rough."""

MIN_GROUPS = 20
"""The same of clusters."""

RESAMPLES = 200
_SEEDS = 1 << 32  # what NumPy's old generator takes
_AT_ONCE = 25
_LEAST_DEFINED = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Fresh:
    """An untrained model: its side of the engine, and what tells its weights from others."""

    predict: Predict
    weights: Mapping[str, object]


def run_control(
    fresh: Callable[[int], Fresh],
    *,
    weights: Mapping[str, object],
    ledger: Ledger,
    sample: Sample,
    scorer: Scorer,
    refs: Iterable[MetricRef],
    batch_size: int,
    seed: int,
) -> ControlInfo:
    """Compares the checkpoint with untrained models until most of `TRIALS` agree.

    Whatever goes wrong is no fault of the checkpoint's: the control is skipped, and says why.

    Args:
        fresh: makes an untrained model from a seed.
        weights: what tells the checkpoint's weights from others.
        ledger: the checkpoint's, of the whole set.
        sample: rows of it, with their inputs.
        scorer: of the task.
        refs: the metrics to compare, the first that settles it ends a trial.
        batch_size: as in the accuracy pass.
        seed: of the run; the trials' are the next ones, after the largest from 0.
    """
    refs, trials = tuple(refs), list[ControlTrial]()

    def skipped(why: str) -> ControlInfo:
        return ControlInfo(n=0, of=sample.of, trials=(), worse=None, skipped=why)

    judged, before = rows_of(ledger, sample), None
    counted = _counted(judged)
    if (n := int(np.count_nonzero(counted))) < MIN_ROWS:
        return skipped(f"{n} samples are too few, it takes {MIN_ROWS}")
    if not refs:
        return skipped("no metric of the predictions is gated or reported")
    if (groups := len(np.unique(_groups(judged)[counted]))) < MIN_GROUPS:
        return skipped(f"{groups} clusters of samples are too few, it takes {MIN_GROUPS}")
    try:
        for number in range(1, TRIALS + 1):
            own = (seed + number) % _SEEDS
            one = fresh(own)
            if one.weights == weights:
                return skipped("the factory gives the checkpoint's own weights, not untrained ones")
            if one.weights == before:
                return skipped("the factory gives the same weights whatever the seed")
            found = ledger_of(outputs_of(one.predict, sample, batch_size), sample, scorer)
            trials.append(_trial(judged, found, refs, own))
            before = one.weights
            del one  # two untrained models need not be in memory
            if len(trials) > 1 and most_are_worse(tuple(trials)) is not None:
                break
    except ModelEvalError as error:
        return skipped(f"{CONTROL_FAILED}: {error.message}")
    worse = most_are_worse(tuple(trials))
    return ControlInfo(
        n=n,
        of=sample.of,
        trials=tuple(trials),
        worse=worse,
        skipped=None if worse is not None else _why_open(trials, n),
    )


def _why_open(trials: Iterable[ControlTrial], n: int) -> str:
    errors = [metric.standard_error for trial in trials for metric in trial.metrics]
    if None in errors:
        return "metrics of the untrained models are undefined, or cannot be compared"
    return f"{n} samples are too few to tell the checkpoint from untrained models"


def _trial(
    checkpoint: Ledger, control: Ledger, refs: Iterable[MetricRef], seed: int
) -> ControlTrial:
    compared: list[ControlMetric] = []
    for ref in refs:
        compared.append(_compared(checkpoint, control, ref, seed))
        if is_worse(compared[-1]):
            break
    return ControlTrial(seed=seed, metrics=tuple(compared))


@numpys_own
def _compared(checkpoint: Ledger, control: Ledger, ref: MetricRef, seed: int) -> ControlMetric:
    # Weighted alike, and as the report's estimates are.
    ours = weighted(checkpoint)
    theirs = Weighted(ledger=control, base=ours.base)
    own, value = (estimates(one, (ref,))[0].value for one in (ours, theirs))
    error = None
    if value is not None and own is not None:
        base = 1.0 if ours.base is None else ours.base
        pairs = [
            compute(checkpoint, ref, counts * base) - compute(control, ref, counts * base)
            for counts in _resamples(checkpoint, seed)
        ]
        error = _spread(np.concatenate(pairs))
    return ControlMetric(metric=ref, value=value, checkpoint_value=own, standard_error=error)


def _spread(differences: FloatArray) -> float | None:
    """Their standard deviation; None where too many resamples have no value."""
    known = differences[np.isfinite(differences)]
    if len(known) < _LEAST_DEFINED * len(differences):
        return None
    spread = float(known.std(ddof=1))
    return spread if isfinite(spread) else None


def _resamples(ledger: Ledger, seed: int) -> Iterator[FloatArray]:
    """(B, N) counts of rows drawn with replacement, whole clusters where the ledger has any."""
    draws = np.random.default_rng(seed)
    groups = _groups(ledger)
    count = int(groups.max()) + 1
    for _ in range(RESAMPLES // _AT_ONCE):
        counts = draws.multinomial(count, np.full(count, 1 / count), size=_AT_ONCE)
        yield counts[:, groups].astype(np.float64)


def _counted(ledger: Ledger) -> npt.NDArray[np.bool_]:
    """[N], whether a row has a say in any metric."""
    if "weight" not in ledger.columns:
        return np.ones(len(ledger), dtype=np.bool_)
    counted: npt.NDArray[np.bool_] = ledger["weight"] > 0
    return counted


def _groups(ledger: Ledger) -> npt.NDArray[np.int64]:
    """[N], the number of each row's cluster; of the row itself where there are none."""
    if "cluster" not in ledger.columns:
        return np.arange(len(ledger))
    _, groups = np.unique(ledger["cluster"], return_inverse=True)
    return groups.astype(np.int64)
