"""Metrics of the set of labels that each sample has, and of the set that is predicted.

The definitions are scikit-learn's for label indicators: `accuracy_score`, `hamming_loss`, and
`precision_recall_fscore_support` with `average="samples"` and `zero_division=0`.
"""

import numpy as np

from model_eval.metrics.classification import Ratio, zero_for_nan
from model_eval.metrics.rows import Counts, FloatArray, Rows, counts_of_rows


def exact_match(rows: Rows) -> FloatArray:
    """Share of rows of which every label is predicted as it is."""
    return rows.mean(_exact(rows))


def exact_matches(rows: Rows) -> tuple[FloatArray, FloatArray]:
    """Rows of which every label is predicted as it is, out of all, each (B,)."""
    return rows.sums(_exact(rows)[:, None])[:, 0], rows.size


def hamming_loss(rows: Rows) -> FloatArray:
    """Share of wrong ones among all labels of all rows."""
    return rows.mean(wrong_share_of_row(rows))


def wrong_share_of_row(rows: Rows) -> FloatArray:
    """(N,) the share of wrong ones among a row's labels, 0 to 1."""
    wrong: FloatArray = (rows.column("target") != rows.column("prediction")).mean(axis=1)
    return wrong


def samples(ratio: Ratio, rows: Rows) -> FloatArray:
    """The mean over rows of the ratio over a row's labels; 0/0 is 0."""
    hits, predicted, support = counts_of_rows(rows)
    of_rows = ratio(Counts(hits=hits, predicted=predicted, support=support).total())
    return rows.mean(zero_for_nan(of_rows))


def _exact(rows: Rows) -> FloatArray:
    same = rows.column("target") == rows.column("prediction")
    exact: FloatArray = same.all(axis=1).astype(np.float64)
    return exact
