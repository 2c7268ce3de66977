"""Metrics of pixels against torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm
from torchmetrics.functional import segmentation as seg

from builders.ledgers import segmentation_ledger
from model_eval.metrics import class_rows, compute, estimate
from model_eval.metrics.registry import metric_of
from model_eval.types import MetricRef, Task

NAMES = ("sky", "road", "tree", "boat")
IGNORED = 255


def drawn(seed, n, *, classes=4, pixels=64, ignored=0.2, right=0.5):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, (n, pixels))
    prediction = np.where(
        rng.random((n, pixels)) < right, target, rng.integers(0, classes, (n, pixels))
    )
    target[rng.random((n, pixels)) < ignored] = IGNORED
    return target, prediction


SETS = {
    "random": drawn(0, 12),
    "nothing ignored": drawn(1, 7, ignored=0),
    "one image": drawn(2, 1),
    "absent class": drawn(3, 9, classes=3),
    "one class": (np.ones((4, 9), int), np.ones((4, 9), int)),
    "all wrong": (np.zeros((3, 9), int), np.ones((3, 9), int)),
    "an image is all ignored": (np.full((2, 9), IGNORED) * [[1], [0]], np.zeros((2, 9), int)),
}


@pytest.fixture(params=SETS)
def case(request):
    return SETS[request.param]


def ledger_of(target, prediction):
    return segmentation_ledger(target, prediction, NAMES, ignore_index=IGNORED)


def value(ledger, name, weights=None, **part):
    return compute(ledger, MetricRef(name=name, **part), weights)[0]


def pixels_of(target, prediction, repeat=None):
    """All pixels that are counted, each image as often as `repeat` says."""
    repeat = np.ones(len(target), int) if repeat is None else repeat
    target, prediction = np.repeat(target, repeat, axis=0), np.repeat(prediction, repeat, axis=0)
    counted = target != IGNORED
    return target[counted], prediction[counted]


@pytest.mark.parametrize("weighted", [False, True])
def test_all_pixels_together(case, weighted):
    ledger = ledger_of(*case)
    repeat = np.arange(len(case[0])) % 3 + 1 if weighted else None
    target, prediction = pixels_of(*case, repeat)
    weights = None if repeat is None else repeat[None].astype(float)
    labels = range(len(NAMES))
    for name, score in {"iou": sk.jaccard_score, "dice": sk.f1_score}.items():
        occurs = np.isin(labels, np.concatenate([target, prediction]))
        expected = score(target, prediction, labels=labels, average=None, zero_division=0)
        expected = np.where(occurs, expected, np.nan)
        got = [value(ledger, name, weights, of_class=one) for one in NAMES]
        np.testing.assert_allclose(got, expected, atol=1e-12, equal_nan=True)
        assert value(ledger, f"{name}_macro", weights) == pytest.approx(
            np.nanmean(expected), abs=1e-12
        )
    assert value(ledger, "pixel_accuracy", weights) == pytest.approx(
        sk.accuracy_score(target, prediction), abs=1e-12
    )


def test_torchmetrics_has_the_same_mean_iou(case):
    target, prediction = (torch.tensor(mask) for mask in case)
    expected = tm.multiclass_jaccard_index(
        prediction, target, num_classes=4, average="macro", ignore_index=IGNORED
    )
    assert value(ledger_of(*case), "iou_macro") == pytest.approx(float(expected), abs=1e-6)


def test_means_over_images(case):
    ledger = ledger_of(*case)
    for name, score in {"iou": sk.jaccard_score, "dice": sk.f1_score}.items():
        images = [pixels_of(case[0][i : i + 1], case[1][i : i + 1]) for i in range(len(case[0]))]
        # scikit-learn's labels are by default those that occur.
        each = [
            score(*image, average="macro", zero_division=0) if len(image[0]) else np.nan
            for image in images
        ]
        weights = np.arange(1.0, len(each) + 1)
        there = ~np.isnan(each)
        assert value(ledger, f"{name}_per_image") == pytest.approx(np.nanmean(each), abs=1e-12)
        assert value(ledger, f"{name}_per_image", weights[None]) == pytest.approx(
            np.average(np.array(each)[there], weights=weights[there]), abs=1e-12
        )


def test_torchmetrics_has_the_same_mean_over_images():
    target, prediction = SETS["nothing ignored"]
    images = [torch.tensor(mask).reshape(-1, 8, 8) for mask in (prediction, target)]
    for name, function in {
        "iou": lambda *masks: seg.mean_iou(*masks, num_classes=4, input_format="index"),
        "dice": lambda *masks: seg.dice_score(
            *masks, num_classes=4, input_format="index", average="macro"
        ),
    }.items():
        got = value(ledger_of(target, prediction), f"{name}_per_image")
        assert got == pytest.approx(float(function(*images).mean()), abs=1e-6), name


def test_nothing_counted_has_no_value():
    ledger = ledger_of(np.full((3, 9), IGNORED), np.zeros((3, 9), int))
    for name in ("iou_macro", "dice_macro", "iou_per_image", "dice_per_image", "pixel_accuracy"):
        assert estimate(ledger, MetricRef(name=name)).undefined == "no pixel is counted"
    found = estimate(ledger, MetricRef(name="iou", of_class="sky"))
    assert found.undefined == "the class is neither a target nor a prediction"


def test_counts_of_pixels_are_no_samples():
    with pytest.raises(ValueError, match=r"^a segmentation ledger has no class for each sample$"):
        class_rows(ledger_of(*SETS["random"]))
    for name in ("iou", "iou_macro", "dice", "pixel_accuracy", "iou_per_image"):
        assert metric_of(MetricRef(name=name), Task.SEGMENTATION).trials is None
