"""What the checks of the model mean for a verdict. Pure.

**The control.** A model that was never trained, on the same samples, must do worse than the
checkpoint: otherwise what was measured does not hang on the weights (a transform that leaks the
target, an output that passes the weights by, a bound that any weights meet), and a pass would prove
nothing.

An untrained model is *clearly worse* where the checkpoint is ahead by more than three standard
errors of the paired difference, from a bootstrap of the samples (whole clusters where there are
any); chance alone exceeds that about once in 700 times. It is *no worse* where the checkpoint is
ahead by less than one. In between the samples are too few to say, and a good model must not be
refused for that: the control is open, is shown to be, and blocks nothing.

It is enough to be worse on one gated metric, because a model that answers `yes` to everything has
a perfect recall. A single draw of weights can be lucky, above all those of a small model, so that
two of three must agree; where the first two do, there is no third.

What it does not prove: an untrained checkpoint is itself such a draw, and some draws are ahead of
others; a model that answers the same to everything is ahead of those that guess. Bounds on what is
good enough are what gates are for.

**The noise floor.** A margin within the difference that a batch size or a device makes is none.
"""

from collections.abc import Iterable
from math import inf

from model_eval.spec.catalog import CATALOG, METRICS
from model_eval.spec.eval_spec import EvalSpec
from model_eval.types import (
    ControlInfo,
    ControlMetric,
    ControlTrial,
    MetricRef,
    NoiseInfo,
    Severity,
)

CLEARLY = 3.0
"""Standard errors that the checkpoint is ahead by where an untrained model is clearly worse."""

NO_WORSE = 1.0
"""And where it is no worse: at most so many."""

BATCH_TOLERANCE = 1e-3
"""Relative to 1 + |largest output|: above it the difference is no matter of the last digits."""

CONTROL_FAILED = "no untrained model could be judged"
"""How the reason begins where a control was skipped because of an error, which may not come again."""

TRIALS = 3
MOST = 2


def noise_refs(spec: EvalSpec) -> tuple[MetricRef, ...]:
    """The metrics whose noise is measured: those of gates."""
    return _of_ledger(gate.metric for gate in spec.gates)


def control_refs(spec: EvalSpec) -> tuple[MetricRef, ...]:
    """The metrics on which an untrained model is compared: those of required gates, else of any."""
    required = (gate.metric for gate in spec.gates if gate.severity is Severity.REQUIRED)
    return _of_ledger(required) or noise_refs(spec) or _of_ledger(spec.metrics)[:1]


def _of_ledger(refs: Iterable[MetricRef]) -> tuple[MetricRef, ...]:
    """Each once, without costs, tables and what a spec brings."""
    return tuple(dict.fromkeys(ref for ref in refs if ref.name in CATALOG))


def is_worse(metric: ControlMetric) -> bool | None:
    """Whether the untrained model is clearly worse on a metric; None where that cannot be said."""
    info = METRICS.get(metric.metric.name)
    value, own, error = metric.value, metric.checkpoint_value, metric.standard_error
    if info is None or value is None or own is None or error is None:
        return None
    ahead = own - value if info.higher_is_better else value - own
    if ahead > CLEARLY * error:
        return True
    return False if ahead <= NO_WORSE * error else None


def trial_is_worse(trial: ControlTrial) -> bool | None:
    """Whether it is clearly worse on one metric, or no worse on any; None where neither holds."""
    said = [is_worse(metric) for metric in trial.metrics]
    if any(said):
        return True
    return False if said and None not in said else None


def most_are_worse(trials: tuple[ControlTrial, ...]) -> bool | None:
    """What `MOST` of the trials agree on; None where they do not, or not yet."""
    said = [trial_is_worse(trial) for trial in trials]
    if said.count(True) >= MOST:
        return True
    return False if said.count(False) >= MOST else None


def control_outcome(control: ControlInfo | None) -> str | None:
    """Why nothing can pass, in a few words; None where the control does not stand in the way.

    A control that was skipped or is open does not: its reason is shown. Derived from the values
    of the trials, so that a report cannot claim another outcome than it shows.
    """
    if control is None or most_are_worse(control.trials) is not False:
        return None
    return "the checkpoint is no better than the same model untrained"


def noise_floor(noise: NoiseInfo | None, ref: MetricRef) -> float:
    """A margin of the metric up to this may be due to how the model was run, not to the model.

    Returns:
        The largest difference that was seen, in the metric's unit; infinite where the metric came
        to be undefined in one of the ways; 0 where it was not measured. It is of a few samples,
        where one that changes sides moves a share by more than it would on the whole set.
    """
    found = {one.metric: one.difference for one in noise.metrics} if noise else {}
    difference = found.get(ref, 0.0)
    return inf if difference is None else difference


def noise_notes(noise: NoiseInfo | None) -> tuple[str, ...]:
    """What a reader must know of the noise; ordinary differences are in the report alone."""
    if noise is None:
        return ()
    notes = [
        f"{one.metric.label} of {noise.samples} samples is defined in some ways of running them only"
        for one in noise.metrics
        if one.difference is None
    ]
    allowed = BATCH_TOLERANCE * (1 + (noise.largest_output or 0.0))
    if noise.batch_difference is not None and noise.batch_difference > allowed:
        notes.append(
            f"outputs differ by up to {noise.batch_difference:.3g} between sizes of batches: the "
            "model may use the other samples of a batch"
        )
    return tuple(notes)
