"""Golden cases: named inputs whose outputs must not change. Their ledger is a regression's."""

import numpy as np

from model_eval.ledger import Ledger
from model_eval.spec.eval_spec import GoldenSpec
from model_eval.types import GOLDEN_HELDOUT, DecideOn, Estimate, Gate, MetricRef, Severity

DIFFERENCE = MetricRef(name="golden_difference")
_SHOWN = 5


def golden_estimate(ledger: Ledger) -> Estimate:
    """The largest difference of a number of any case from the recorded one."""
    apart = _apart(ledger)
    lacking = None
    if not len(ledger):
        lacking = "there are no cases"
    elif not ledger["finite"].all():
        lacking = f"the output of {ledger['id'][ledger['finite'].argmin()]} is not finite"
    elif not np.isfinite(apart).all():
        lacking = "the difference is too large for a float64"
    return Estimate(
        metric=DIFFERENCE,
        value=float(apart.max()) if lacking is None else None,
        undefined=lacking,
        n=len(ledger),
        heldout=GOLDEN_HELDOUT,
        no_interval=None if lacking else "each case is held to its own record",
    )


def changed_cases(ledger: Ledger, tolerance: float) -> tuple[str, ...]:
    """The ids of the cases that changed; a case that is not finite did."""
    apart = _apart(ledger)
    return tuple(str(one) for one in ledger["id"][~(apart <= tolerance)])


def golden_gate(spec: GoldenSpec) -> Gate:
    """The gate that golden cases are: no number differs by more than the tolerance."""
    return Gate(
        metric=DIFFERENCE,
        bound="max",
        threshold=spec.tolerance,
        severity=Severity.REQUIRED,
        location=spec.heldout.location,
        heldout=GOLDEN_HELDOUT,
        decide_on=DecideOn.POINT,
        higher_is_better=False,
    )


def _apart(ledger: Ledger) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(ledger["target"] - ledger["prediction"]).max(axis=1, initial=0)
    return np.where(ledger["finite"], apart, np.nan)
