"""Reliability: how often a classifier is right when it is so sure."""

import numpy as np

from model_eval.ledger import Ledger
from model_eval.metrics import weighted
from model_eval.types import ReliabilityBin, Task

BINS = 10


def reliability(ledger: Ledger) -> tuple[ReliabilityBin, ...]:
    """Samples by the probability of what was predicted, in bins of equal width; empty ones left out.

    Binary: by the probability of the positive class, against how often it is the target (DeGroot &
    Fienberg 1983). Multiclass: by the probability of the predicted class, against how often that is
    right. Means are weighted as the metrics are, and a bin whose samples weigh nothing is empty.
    """
    if ledger.task is Task.BINARY:
        sure, right = ledger["probability"], ledger["target"] == 1
    else:
        sure = np.take_along_axis(ledger["probability"], ledger["prediction"][:, None], axis=1)[
            :, 0
        ]
        right = ledger["prediction"] == ledger["target"]
    base = weighted(ledger).base
    weights = np.ones(len(ledger)) if base is None else base
    bins = np.clip((sure * BINS).astype(np.intp), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sizes = np.bincount(bins, weights=weights, minlength=BINS)
    means = np.bincount(bins, weights=weights * sure, minlength=BINS)
    hits = np.bincount(bins, weights=weights * right, minlength=BINS)
    return tuple(
        ReliabilityBin(
            low=index / BINS,
            high=(index + 1) / BINS,
            n=int(counts[index]),
            confidence=float(means[index] / sizes[index]),
            accuracy=float(hits[index] / sizes[index]),
        )
        for index in np.flatnonzero(sizes).tolist()
    )
