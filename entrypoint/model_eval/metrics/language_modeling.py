"""Metrics of tokens, from the sums of each document: long documents count for more than short ones.

Perplexity is torchmetrics' `Perplexity`; bits per byte are those of Gao et al. (2020), "The Pile",
which do not hang on the tokeniser.
"""

import numpy as np

from model_eval.metrics.classification import divide
from model_eval.metrics.rows import FloatArray, Rows


def log_loss(rows: Rows) -> FloatArray:
    """Mean over tokens of -ln(probability of the target); NaN where one of these was 0."""
    return _ratio(rows, "nll", "tokens")


def perplexity(rows: Rows) -> FloatArray:
    """The exponential of the mean over tokens of -ln(probability of the target)."""
    value: FloatArray = np.exp(log_loss(rows))
    return value


def bits_per_byte(rows: Rows) -> FloatArray:
    """Sum over tokens of -log2(probability of the target), over the sum of `bytes`."""
    bits: FloatArray = _ratio(rows, "nll", "bytes") / np.log(2)
    return bits


def token_accuracy(rows: Rows) -> FloatArray:
    """Share of tokens whose first most probable prediction is the target."""
    return _ratio(rows, "hits", "tokens")


def _ratio(rows: Rows, numerator: str, denominator: str) -> FloatArray:
    """(B,) of two sums; NaN where the denominator is 0 or the numerator infinite."""
    columns = [rows.column(name).astype(np.float64) for name in (numerator, denominator)]
    sums = rows.sums(np.stack(columns, axis=1))
    ratio = divide(sums[:, 0], sums[:, 1])
    return np.where(ratio < np.inf, ratio, np.nan)
