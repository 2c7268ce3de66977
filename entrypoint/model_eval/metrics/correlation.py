"""Correlations of weighted pairs of numbers, each vector of weights with its own means and ranks."""

import numpy as np

from model_eval.metrics.regression import Output
from model_eval.metrics.rows import BoolArray, FloatArray, correlation, label_sums


def pearson(output: Output) -> FloatArray:
    """Σ (t - mean t)(p - mean p) / √(Σ (t - mean t)² Σ (p - mean p)²); NaN where one is constant."""
    value = output.rows.correlation(output.target, output.prediction)
    return np.where(_constant(output), np.nan, value)


def spearman(output: Output) -> FloatArray:
    """Pearson's correlation of the ranks, as scipy's `spearmanr`; NaN where one is constant.

    Equal numbers have the mean of their ranks. The rank of a weighted number is the weight below
    it and half of its own, so a weight of 2 is two rows.
    """
    levels = [
        np.unique(values, return_inverse=True)[1] for values in (output.target, output.prediction)
    ]

    def of_ranks(weights: FloatArray) -> FloatArray:
        first, second = (_ranks(level, weights) for level in levels)
        return correlation(first, second, weights)

    return np.where(_constant(output), np.nan, output.rows.map(of_ranks))


def _constant(output: Output) -> BoolArray:
    constant = output.rows.constant
    return constant(output.target) | constant(output.prediction)


def _ranks(
    level: np.ndarray[tuple[int, ...], np.dtype[np.intp]], weights: FloatArray
) -> FloatArray:
    """(b, N) the share of the weight that is below each row, half of its equals included."""
    mass = label_sums(level, weights, int(level.max(initial=-1)) + 1)
    reached = np.cumsum(mass, axis=1)
    return ((reached - mass / 2) / reached[:, -1:]).take(level, axis=1)
