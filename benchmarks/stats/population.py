"""A population: how a held-out set is drawn from it, and what is true of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model_eval.types import MetricRef

SIZES = (200, 1_000, 10_000)
SLICE = 30
"""Samples of a tiny slice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """Where held-out sets come from.

    Attributes:
        says: what it is, for readers.
        draw: of a generator and n: a ledger, or with `difference` the candidate's and the baseline's.
        truths: label of a metric → its true value, difference or gap.
        kind: whether the truths are of the metrics themselves, of paired differences, or of the
            gap between the slices `part`.
        sizes: numbers of samples.
        slow: whether its metrics take so long that fewer sets are drawn.
    """

    name: str
    says: str
    draw: Callable[..., Any]
    truths: Mapping[str, float]
    kind: Literal["value", "difference", "gap"] = "value"
    sizes: tuple[int, ...] = SIZES
    slow: bool = False


def ref_of(label: str) -> MetricRef:
    """`recall[c0]` → the metric and its class."""
    name, _, part = label.removesuffix("]").partition("[")
    return MetricRef(name=name, of_class=part or None)
