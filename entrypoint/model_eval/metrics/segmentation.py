"""Metrics of pixels, from the counts of each class: of all images together, or of each image.

Pixels of all images together are one confusion matrix, as in torchmetrics' `JaccardIndex`; a class
that is neither a target nor a prediction is left out of means, as there. The Dice coefficient is
the F1 score of pixels (`classification.f1`).
"""

import numpy as np

from model_eval.metrics.classification import Ratio, divide, zero_for_nan
from model_eval.metrics.rows import Counts, FloatArray, Rows, counts_of_rows


def iou(counts: Counts) -> FloatArray:
    """TP / (TP + FP + FN), the Jaccard index."""
    return divide(counts.hits, counts.predicted + counts.support - counts.hits)


def per_image(ratio: Ratio, rows: Rows) -> FloatArray:
    """The mean over images of the mean over the classes that occur in the image.

    An image without a counted pixel is not there; NaN where there is no other.
    """
    hits, predicted, support = counts_of_rows(rows)
    occurs = predicted + support > 0
    values = zero_for_nan(ratio(Counts(hits=hits, predicted=predicted, support=support)))
    of_image = zero_for_nan(divide(values.sum(axis=1), occurs.sum(axis=1)))
    sums = rows.sums(np.stack([of_image, occurs.any(axis=1)], axis=1))
    return divide(sums[:, 0], sums[:, 1])
