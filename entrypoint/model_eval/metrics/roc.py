"""Parts of the area under the ROC curve, and areas of pairs of classes.

The definitions are scikit-learn's `roc_auc_score` with `max_fpr`, and with `multi_class="ovo"`
and `average="macro"`. Ties are exact: equal scores are one threshold.
"""

import numpy as np

from model_eval.metrics.classification import divide
from model_eval.metrics.ranking import auroc_of, class_score, cumulative, is_of_class, rank
from model_eval.metrics.rows import FloatArray, Rows, label_sums


def auroc(rows: Rows, index: int, *, max_fpr: float = 1) -> FloatArray:
    """(B,) the area of a class against the rest, up to a false positive rate.

    Below 1 it is on the scale of McClish (1989), on which chance is 0.5 and all of it is 1:
    (1 + (A - m²/2) / (m - m²/2)) / 2, with the area A up to m = `max_fpr`. NaN where a side has
    no weight.
    """
    if max_fpr >= 1:
        return auroc_of(rows, index)
    positive = is_of_class(rows, index)
    descending = np.unique(-class_score(rows, index), return_inverse=True)[1]
    groups = int(descending.max(initial=-1)) + 1

    def area(weights: FloatArray) -> FloatArray:
        # The curve is a straight line over each group of equal scores.
        rise = label_sums(descending, np.where(positive, weights, 0), groups)
        run = label_sums(descending, np.where(positive, 0, weights), groups)
        risen, reached = cumulative(rise), cumulative(run)
        limit = max_fpr * reached[:, -1:]
        inside = np.clip(limit - reached[:, :-1], 0, run)
        slope = np.zeros_like(run)
        np.divide(inside, run, out=slope, where=run > 0)
        under = (inside * (risen[:, :-1] + rise * slope / 2)).sum(axis=1)
        share = divide(under, risen[:, -1] * limit[:, 0])
        least = max_fpr / 2
        return np.clip((1 + (share - least) / (1 - least)) / 2, (1 - max_fpr) / (2 - max_fpr), 1)

    return rows.once((f"auroc up to {max_fpr!r}", index), lambda: rows.map(area))


def auroc_ovo(rows: Rows) -> FloatArray:
    """(B,) the mean, over ordered pairs of classes, of the area of the one against the other.

    The area of a pair, by the scores of its first class, is the mean over samples of the second
    of the share of the first that is above them; ties are half. NaN where a class has no weight.
    """
    size = len(rows.ledger.classes)
    areas = sum(_against_each(rows, index, size) for index in range(size))
    return np.clip(areas / (size * (size - 1)), 0, 1)


def _against_each(rows: Rows, index: int, size: int) -> FloatArray:
    """(B,) the sum of the areas of a class against each other one, by its own scores."""
    target = rows.column("target")
    # Seen from the others: what share of the class each of them is above.
    ranking = rank(-class_score(rows, index), target != index)
    labels = target[ranking.positives]

    def of_others(weights: FloatArray) -> FloatArray:
        below = cumulative(weights.take(ranking.negatives, axis=1))
        above = below.take(ranking.above, axis=1) + below.take(ranking.negatives_reached, axis=1)
        own = weights.take(ranking.positives, axis=1)
        return label_sums(labels, own * (1 - above / 2 / below[:, -1:]), size)

    areas = divide(rows.map(of_others), rows.counts.support)
    areas[:, index] = 0
    total: FloatArray = areas.sum(axis=1)
    return total
