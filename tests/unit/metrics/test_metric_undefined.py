"""Where a metric has no value it says why, and a NaN is never a value."""

import numpy as np
import pytest

from builders.ledgers import (
    binary_ledger,
    language_ledger,
    multiclass_ledger,
    multilabel_ledger,
    regression_ledger,
    segmentation_ledger,
)
from model_eval.metrics import (
    Weighted,
    class_rows,
    compute,
    confusion,
    confusion_matrix,
    estimate,
    estimates,
    weighted,
)
from model_eval.spec.catalog import CATALOG
from model_eval.types import ClassRow, ConfusionMatrix, Estimate, MetricRef, Task

THREE = ("ant", "bee", "cat")
SURE = np.eye(3)


def undefined(ledger, name, **part):
    found = estimate(ledger, MetricRef(name=name, **part))
    assert found.value is None
    assert np.isnan(compute(ledger, found.metric)).all()
    return found.undefined


def required(info):
    return tuple((p.name, float(p.example)) for p in info.params if p.default is None)


EMPTY = {
    Task.BINARY: binary_ledger([], []),
    Task.MULTICLASS: multiclass_ledger([], np.empty((0, 3)), THREE),
    Task.REGRESSION: regression_ledger(np.empty((0, 1)), np.empty((0, 1))),
    Task.MULTILABEL: multilabel_ledger(np.empty((0, 3)), np.empty((0, 3)), THREE),
    Task.SEGMENTATION: segmentation_ledger(np.empty((0, 4)), np.empty((0, 4)), THREE),
    Task.LANGUAGE_MODELING: language_ledger([], [], [], []),
}


@pytest.mark.parametrize("task", Task)
def test_nothing_is_known_of_no_samples(task):
    for info in CATALOG.values():
        if task in info.tasks:
            needs = info.needs_part and task is not Task.BINARY
            part = {"of_class": "ant"} if needs else {}
            part["params"] = required(info)
            assert undefined(EMPTY[task], info.name, **part) == "there are no samples"
            nothing = compute(EMPTY[task], MetricRef(name=info.name, **part), np.empty((2, 0)))
            assert np.isnan(nothing).tolist() == [True, True]


def test_rows_without_finite_outputs_leave_every_metric_undefined():
    finite = np.array([True, True, False, False])
    ledgers = [
        binary_ledger([0, 1, 0, 1], [0.1, 0.9, np.nan, 0.5], finite=finite, ids=[4, 5, 6, 7]),
        multiclass_ledger([0, 1, 2, 0], np.ones((4, 3)), THREE, finite=finite, ids=[4, 5, 6, 7]),
        regression_ledger([0, 1, 2, 3], [0, 1, np.inf, 3], finite=finite, ids=[4, 5, 6, 7]),
        multilabel_ledger(np.ones((4, 3)), np.ones((4, 3)), THREE, finite=finite, ids=[4, 5, 6, 7]),
        segmentation_ledger(*np.ones((2, 4, 9)), THREE, finite=finite, ids=[4, 5, 6, 7]),
        language_ledger(*np.ones((4, 4)), finite=finite, ids=[4, 5, 6, 7]),
    ]
    for ledger in ledgers:
        for info in CATALOG.values():
            if ledger.task in info.tasks:
                needs = info.needs_part and ledger.task is not Task.BINARY
                part = {"of_class": "ant"} if needs else {}
                part["params"] = required(info)
                assert undefined(ledger, info.name, **part) == (
                    "2 of 4 samples have outputs that are not finite (first id: 6)"
                )


def test_a_long_or_broken_id_stays_one_line():
    ids = ["a" * 200 + "\n" + "b"]
    ledger = regression_ledger([1.0], [np.nan], finite=[False], ids=ids)
    assert undefined(ledger, "mse") == (
        f"1 of 1 samples have outputs that are not finite (first id: {'a' * 79}…)"
    )
    ledger = regression_ledger([1.0], [np.nan], finite=[False], ids=["a\r\n::error::b"])
    assert undefined(ledger, "mse") == (
        "1 of 1 samples have outputs that are not finite (first id: a ::error::b)"
    )


@pytest.mark.parametrize(
    ("name", "part", "reason"),
    [
        ("precision", "cat", "nothing was predicted as the class"),
        ("recall", "bee", "no sample is of the class"),
        ("f1", "dog", "the class is neither a target nor a prediction"),
        ("auroc", "bee", "a class has no samples, or has all of them"),
        ("auroc", None, "a class has no samples, or has all of them"),
        ("auroc_macro", None, "a class has no samples, or has all of them"),
        ("average_precision", "bee", "a class has no samples"),
        ("average_precision", None, "a class has no samples"),
        ("average_precision_macro", None, "a class has no samples"),
    ],
)
def test_the_reason_is_the_catalogues(name, part, reason):
    # Targets are ant and cat, predictions ant and bee; dog never occurs.
    probability = np.eye(4)[[0, 1, 0, 1]]
    ledger = multiclass_ledger([0, 0, 2, 2], probability, ("ant", "bee", "cat", "dog"))
    assert undefined(ledger, name, of_class=part) == reason


def test_one_class_alone_has_no_area():
    ledger = multiclass_ledger([1, 1], SURE[[1, 0]], THREE)
    assert undefined(ledger, "auroc_weighted") == "one class has all samples"
    assert estimate(ledger, MetricRef(name="average_precision_weighted")).value == 1
    positives = binary_ledger([1, 1], [0.2, 0.9])
    assert undefined(positives, "auroc") == "a class has no samples, or has all of them"
    assert undefined(binary_ledger([0], [0.9]), "average_precision") == "a class has no samples"


def test_a_target_that_was_given_probability_zero_has_no_log_loss():
    ledger = binary_ledger([0, 1], [0.5, 0.5])
    ledger.columns["log_loss"][1] = np.inf
    assert undefined(ledger, "log_loss") == "a target was given probability 0"
    without = compute(ledger, MetricRef(name="log_loss"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(without, [np.log(2), np.nan])


def test_a_class_or_an_output_that_is_not_there():
    ledger = multiclass_ledger([0, 1], SURE[:2], THREE)
    found = estimate(ledger, MetricRef(name="f1", of_class="dog"))
    assert (found.value, found.undefined) == (None, "there is no class `dog`")
    with pytest.raises(ValueError, match=r"^there is no class `dog`$"):
        compute(ledger, found.metric)
    numbers = regression_ledger([0, 1], [0, 1], ["height"])
    found = estimate(numbers, MetricRef(name="mse", of_output="weight"))
    assert (found.value, found.undefined) == (None, "there is no output `weight`")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (MetricRef(name="acuracy"), "a multiclass task has no metric `acuracy`"),
        (MetricRef(name="mse"), "a multiclass task has no metric `mse`"),
        (MetricRef(name="f1"), "`f1` does not name a metric of a multiclass task"),
        (
            MetricRef(name="f1_macro", of_class="ant"),
            "`f1_macro[ant]` does not name a metric of a multiclass task",
        ),
        (
            MetricRef(name="auroc", of_output="ant"),
            "`auroc[ant]` does not name a metric of a multiclass task",
        ),
        (
            MetricRef(name="top_k_accuracy"),
            "`top_k_accuracy` does not have the parameters of `top_k_accuracy`",
        ),
        (
            MetricRef(name="top_k_accuracy", params=(("k", 1.5),)),
            "`top_k_accuracy(k=1.5)` does not have the parameters of `top_k_accuracy`",
        ),
        (
            MetricRef(name="auroc", params=(("max_fpr", np.nan),)),
            "`auroc(max_fpr=nan)` does not have the parameters of `auroc`",
        ),
        (
            MetricRef(name="accuracy", params=(("k", 3.0),)),
            "`accuracy(k=3)` does not have the parameters of `accuracy`",
        ),
    ],
)
def test_a_metric_that_is_not_there_is_a_defect_of_the_caller(ref, message):
    ledger = multiclass_ledger([0, 1], SURE[:2], THREE)
    for function in (compute, estimate):
        with pytest.raises(ValueError) as raised:
            function(ledger, ref)
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1], "weights have shape (2,), and must have (B, 2)"),
        ([[1.0, 1, 1]], "weights have shape (1, 3), and must have (B, 2)"),
        ([[1.0, -1]], "weights must be finite and not negative"),
        ([[1.0, np.nan]], "weights must be finite and not negative"),
        ([[1.0, np.inf]], "weights must be finite and not negative"),
    ],
)
def test_weights_are_checked(weights, message):
    for function in (
        lambda ledger, weights: compute(ledger, MetricRef(name="accuracy"), weights),
        confusion_matrix,
    ):
        with pytest.raises(ValueError) as raised:
            function(binary_ledger([0, 1], [0.1, 0.9]), weights)
        assert str(raised.value) == message


def test_weights_may_be_a_mask_or_counts():
    ledger = binary_ledger([0, 1, 1], [0.1, 0.9, 0.2])
    accuracy = MetricRef(name="accuracy")
    assert compute(ledger, accuracy, [[True, True, False]]).tolist() == [1]
    assert compute(ledger, accuracy, np.array([[1, 0, 3]])).tolist() == [0.25]
    assert np.isnan(compute(ledger, accuracy, np.zeros((1, 3)))).all()


@pytest.mark.parametrize("column", ["target", "prediction"])
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_a_defect_of_the_ledger(column, label):
    ledger = multiclass_ledger([0, 1], SURE[:2], THREE)
    ledger.columns[column][0] = label
    message = f"column `{column}` of the ledger has a class index outside 0 to 2"
    for function in (lambda x: compute(x, MetricRef(name="accuracy")), confusion_matrix):
        with pytest.raises(ValueError) as raised:
            function(ledger)
        assert str(raised.value) == message


@pytest.mark.parametrize("name", ["auroc", "average_precision", "log_loss"])
def test_a_nan_in_a_row_called_finite_is_a_defect_of_the_ledger(name):
    ledger = binary_ledger([0, 1], [0.1, np.nan])
    column = "log_loss" if name == "log_loss" else "probability"
    with pytest.raises(ValueError) as raised:
        compute(ledger, MetricRef(name=name))
    assert str(raised.value) == (
        f"column `{column}` of the ledger has NaN in a row that it calls finite"
    )


def test_classes_for_a_report():
    ledger = multiclass_ledger([0, 0, 2, 2], np.eye(4)[[0, 1, 0, 1]], (*THREE, "dog"))
    assert class_rows(ledger) == (
        ClassRow(name="ant", support=2, predicted=2, precision=0.5, recall=0.5, f1=0.5),
        ClassRow(name="bee", support=0, predicted=2, precision=0.0, recall=None, f1=0.0),
        ClassRow(name="cat", support=2, predicted=0, precision=None, recall=0.0, f1=0.0),
        ClassRow(name="dog", support=0, predicted=0, precision=None, recall=None, f1=None),
    )
    assert confusion(ledger) == ConfusionMatrix(
        labels=("ant", "bee", "cat", "dog"),
        counts=((1, 1, 0, 0), (0, 0, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0)),
    )
    row = class_rows(ledger)[0]
    assert [type(v) for v in (row.support, row.precision)] == [int, float]
    assert {type(count) for line in confusion(ledger).counts for count in line} == {int}


def test_the_ratios_of_classes_are_weighted_as_the_metrics_are():
    """Samples are counted, whatever they weigh: here the positives that are missed weigh 9 each."""
    ledger = binary_ledger([0] * 4 + [1] * 4, [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.2])
    ledger.columns["weight"] = np.where(np.arange(8) == 7, 9.0, 1.0)
    _, row = class_rows(ledger)
    assert (row.support, row.predicted) == (4, 4)
    for name in ("precision", "recall", "f1"):
        [known] = estimates(weighted(ledger), [MetricRef(name=name)])
        assert getattr(row, name) == pytest.approx(known.value), name
    assert row.recall == pytest.approx(3 / 12)
    assert confusion(ledger).counts == ((3, 1), (1, 3))


def test_classes_cannot_be_counted_where_predictions_mean_nothing():
    ledger = binary_ledger([0, 1], [0.1, np.nan], finite=[True, False])
    for function in (class_rows, confusion, confusion_matrix):
        with pytest.raises(ValueError) as raised:
            function(ledger)
        assert str(raised.value) == (
            "classes cannot be counted over rows whose outputs are not finite"
        )
    assert confusion_matrix(ledger, [[1, 0]]).tolist() == [[[1, 0], [0, 0]]]
    assert confusion_matrix(ledger, [[0, 0]]).tolist() == [[[0, 0], [0, 0]]]
    with pytest.raises(ValueError, match=r"^a regression ledger has no class for each sample$"):
        confusion_matrix(regression_ledger([1.0], [1.0]))


def test_the_value_of_counts_is_the_float_nearest_to_their_ratio():
    ledger = binary_ledger(np.arange(999_999) % 2, np.zeros(999_999))
    accuracy = MetricRef(name="accuracy")
    assert estimate(ledger, accuracy) == Estimate(
        metric=accuracy, value=500_000 / 999_999, undefined=None, n=999_999
    )


@pytest.mark.parametrize("name", ["mse", "mape", "r2"])
def test_where_no_sample_has_a_weight_that_is_the_reason(name):
    ledger = regression_ledger(np.ones((3, 1)), np.zeros((3, 1)))
    nothing = Weighted(ledger=ledger, base=np.zeros(3))
    [found] = estimates(nothing, [MetricRef(name=name)])
    assert (found.value, found.undefined) == (None, "every sample has the weight 0")
