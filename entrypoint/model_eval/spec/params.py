"""What a metric may need beside its name: `{name: top_k_accuracy, k: 3}`."""

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, kw_only=True, slots=True)
class Param:
    """A number that is part of a metric's definition.

    Attributes:
        low: the smallest value, or with `above_low` what every value is above.
        high: the largest value, or with `below_high` what every value is below.
        whole: True where it is a whole number.
        default: what leaving it out means; None where it must be given.
    """

    name: str
    low: float
    high: float
    above_low: bool = False
    below_high: bool = False
    whole: bool = False
    default: float | None = None
    example: float

    def admits(self, value: float) -> bool:
        """Whether it may have this value; NaN is no value."""
        above = value > self.low if self.above_low else value >= self.low
        below = value < self.high if self.below_high else value <= self.high
        return isfinite(value) and above and below and (not self.whole or value == int(value))


K = Param(name="k", low=1, high=30_000, whole=True, example=3)
BETA = Param(name="beta", low=0, above_low=True, high=100, example=2)
BINS = Param(name="bins", low=1, high=1000, whole=True, default=15, example=15)
MAX_FPR = Param(name="max_fpr", low=0, above_low=True, high=1, default=1, example=0.1)
QUANTILE = Param(name="quantile", low=0, above_low=True, high=1, below_high=True, example=0.9)

PARAMS = {param.name: param for param in (K, BETA, BINS, MAX_FPR, QUANTILE)}
"""Every parameter by its key in a spec; `schemas/spec.schema.json` has the same ranges."""
