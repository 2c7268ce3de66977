"""All populations of the coverage table."""

import numpy as np
from scipy.special import ndtri

from benchmarks.stats import classes, errors, scores
from benchmarks.stats.population import SIZES, SLICE, Population

_OF_CLASSES = ("accuracy", "f1_macro", "recall_macro", "recall[c9]")
_FURTHER = ("balanced_accuracy", "matthews_corrcoef", "cohen_kappa")


def populations() -> tuple[Population, ...]:
    """In the order of the table."""
    ten = np.full(10, 1 / 10)
    skewed = 0.6 ** np.arange(10)
    sharp = float(np.sqrt(2) * ndtri(0.99))
    return (
        classes.of_joint(
            "ten classes",
            "ten classes alike, each right nine times of ten",
            ten,
            np.full(10, 0.9),
            (*_OF_CLASSES, *_FURTHER),
        ),
        classes.of_joint(
            "ten skewed classes",
            "each class 0.6 times as frequent as the one before, from 40 % to 0.4 %; recall from 0.95 "
            "to 0.6",
            skewed / skewed.sum(),
            np.linspace(0.95, 0.6, 10),
            ("accuracy", "f1_macro", "f1_weighted", "recall[c0]", "recall[c9]", *_FURTHER),
        ),
        classes.of_joint(
            "three classes",
            "three classes alike, each right nine times of ten",
            np.full(3, 1 / 3),
            np.full(3, 0.9),
            ("accuracy", "f1_macro"),
            sizes=(SLICE, *SIZES),
        ),
        scores.binary(
            "balanced scores",
            "binormal scores, calibrated, half positive, AUROC 0.856",
            d=1.5,
            prior=0.5,
            metrics=scores.BINARY_METRICS,
            sizes=scores.SMALL,
        ),
        scores.binary(
            "rare positives",
            "binormal scores, calibrated, a tenth positive, AUROC 0.856",
            d=1.5,
            prior=0.1,
            metrics=scores.BINARY_METRICS,
        ),
        scores.binary(
            "sharp scores",
            "binormal scores, calibrated, half positive, AUROC 0.99",
            d=sharp,
            prior=0.5,
            metrics=("auroc", "average_precision", "log_loss"),
        ),
        scores.binary(
            "overconfident scores",
            "balanced scores whose log-odds are three times too large: heavy-tailed losses",
            d=1.5,
            prior=0.5,
            sharpness=3.0,
            metrics=("log_loss", "brier_score"),
        ),
        scores.ten_classes("ten scores", "ten normal scores, the target's higher by 2"),
        errors.regression("normal errors", "errors N(0, 1/4), R² 0.8", heavy=False),
        errors.regression(
            "t5 errors", "errors of Student's t with 5 degrees of freedom", heavy=True
        ),
        classes.clustered(
            "clusters",
            "clusters of 1 to 20, intraclass correlation 0.3, four classes, accuracy 0.9",
            size=4,
            accuracy=0.9,
            correlation=0.3,
        ),
        classes.weighted("weights", "weights 1, 3 and 10; heavy samples are harder"),
        classes.paired("paired classes", "a tenth of the samples decided anew, a little worse"),
        scores.paired_binary(
            "paired scores",
            "binormal scores, d 1.5 and 1.6, noise correlated by 0.8",
            d=1.5,
            before=1.6,
            prior=0.5,
            correlation=0.8,
        ),
        errors.paired_regression("paired errors", "errors with 16 % more variance"),
        classes.sliced("four slices", "accuracies 0.95, 0.93, 0.91, 0.8", (0.95, 0.93, 0.91, 0.8)),
        classes.sliced("ten equal slices", "accuracy 0.9 in each: the gap is 0", np.full(10, 0.9)),
    )
