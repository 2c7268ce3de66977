"""Populations of a regression: normal targets, and errors of a known distribution."""

import numpy as np

from benchmarks.stats.ledgers import regression_ledger
from benchmarks.stats.population import SIZES, SLICE, Population

T5_SQUARE, T5_ABSOLUTE = 5 / 3, 0.9490209
"""Means of the square and of the absolute value of Student's t with 5 degrees of freedom."""


def regression(name, says, *, heavy) -> Population:
    """Predictions N(0, 1), and errors N(0, ½²) or t5 / 2 on top."""

    def draw(generator, n):
        prediction = generator.normal(size=n)
        error = generator.standard_t(5, n) if heavy else generator.normal(size=n)
        return regression_ledger(prediction + error / 2, prediction)

    square, absolute = (T5_SQUARE, T5_ABSOLUTE) if heavy else (1.0, np.sqrt(2 / np.pi))
    mse = square / 4
    truths = {
        "mse": mse,
        "rmse": np.sqrt(mse),
        "mae": absolute / 2,
        "r2": 1 - mse / (1 + mse),
    }
    return Population(
        name=name, says=says, draw=draw, truths=truths, sizes=(SLICE, *SIZES), slow=True
    )


def paired_regression(name, says) -> Population:
    """A candidate with a little more noise than the baseline, on the same targets."""
    extra = 0.2

    def draw(generator, n):
        old = generator.normal(size=n)
        target = old + generator.normal(size=n) / 2
        new = old + extra * generator.normal(size=n)
        return regression_ledger(target, new), regression_ledger(target, old)

    return Population(name=name, says=says, draw=draw, truths={"mse": extra**2}, kind="difference")
