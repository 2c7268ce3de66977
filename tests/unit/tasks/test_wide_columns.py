"""Labels, pixels and tokens: what a batch leaves in the ledger, against numpy's and scipy's own."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from model_eval.errors import EvaluationError, HeldOutError
from model_eval.tasks import Scorer, language_modeling, segmentation
from model_eval.types import OutputKind, Task

LOGITS, PROBABILITIES = OutputKind.LOGITS, OutputKind.PROBABILITIES
IGNORED = 255


def scorer(task, kind=LOGITS, *, threshold=None, classes=None, ignore_index=IGNORED):
    if task is Task.MULTILABEL and threshold is None:
        threshold = 0.5
    return Scorer(
        task=task,
        kind=kind,
        threshold=threshold,
        classes=classes,
        outputs=(),
        ignore_index=ignore_index,
    )


def columns(task, outputs, target, kind=LOGITS, **options):
    found = scorer(task, kind, **options).columns(torch.as_tensor(outputs), np.asarray(target))
    return {name: tensor.numpy() for name, tensor in found.items()}


def normal(*shape, seed=0, scale=2.0):
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return values.astype(np.float32)


def drawn(high, *shape, seed=1):
    return np.random.default_rng(seed).integers(0, high, shape)


# --- the same wherever a sample is --------------------------------------------------------------


def in_pieces(task, outputs, target, size, **options):
    parts = [
        columns(task, outputs[start : start + size], target[start : start + size], **options)
        for start in range(0, len(outputs), size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("size", [1, 3, 37, 256])
@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTILABEL, Task.SEGMENTATION])
def test_the_size_of_a_batch_changes_no_bit(task, size):
    """torch's own sigmoid takes another way for the last numbers of a tensor, and rounds another way."""
    shape = {Task.BINARY: (1003,), Task.MULTILABEL: (1003, 1), Task.SEGMENTATION: (1003, 1, 1, 1)}
    logits = torch.tensor(normal(1003)).double()
    alone = torch.stack([one.sigmoid() for one in logits])
    differ = (alone != logits.sigmoid()).nonzero()
    at = int(differ[0]) if len(differ) else 0  # on some processors there is one way only
    logits[::2] = logits[at]
    outputs = logits.reshape(shape[task])
    target = drawn(2, 1003).reshape(outputs.shape)
    if task is Task.MULTILABEL:
        target = target.astype(bool)
    elif task is Task.SEGMENTATION:
        target = target[:, 0]
    for threshold in {float(alone[at]), float(logits[at].new_full((64,), logits[at]).sigmoid()[0])}:
        whole = columns(task, outputs, target, threshold=threshold)
        pieces = in_pieces(task, outputs, target, size, threshold=threshold)
        for name, column in whole.items():
            np.testing.assert_array_equal(pieces[name], column, err_msg=name)
        if task is Task.BINARY:
            np.testing.assert_array_equal(whole["prediction"], whole["probability"] >= threshold)


# --- multilabel -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_labels_of_logits(dtype):
    logits = torch.tensor(normal(20, 3)).to(dtype)
    target = drawn(2, 20, 3).astype(bool)
    got = columns(Task.MULTILABEL, logits, target)
    exact = logits.double().numpy()
    loss = np.logaddexp(0, np.where(target, -exact, exact))
    np.testing.assert_allclose(got["log_loss"], loss.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(got["probability"], expit(exact), rtol=1e-6)
    np.testing.assert_array_equal(got["prediction"], expit(exact) >= 0.5)
    np.testing.assert_allclose(got["score"], exact, rtol=1e-7)
    wide = np.float64 if dtype == torch.float64 else np.float32
    assert {got["probability"].dtype, got["score"].dtype} == {np.dtype(wide)}
    assert got["finite"].all()


def test_labels_of_probabilities():
    probability = np.array([[0.0, 0.25], [1.0, 0.7]])
    got = columns(
        Task.MULTILABEL, probability, [[True, True], [True, False]], PROBABILITIES, threshold=0.7
    )
    eps = np.finfo(float).eps
    assert got["prediction"].tolist() == [[False, False], [True, True]]
    expected = [np.mean([-np.log(eps), -np.log(0.25)]), np.mean([-np.log(1 - eps), -np.log(0.3)])]
    np.testing.assert_allclose(got["log_loss"], expected, rtol=1e-12)
    assert "score" not in got


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("task", [Task.MULTILABEL, Task.SEGMENTATION])
def test_a_threshold_itself_is_at_it_in_any_dtype(task, dtype):
    itself = torch.tensor(0.7, dtype=dtype)
    outputs = torch.stack([itself - itself * 2 * torch.finfo(dtype).eps, itself])[None]
    got = columns(task, outputs, np.array([[False, True]]), PROBABILITIES, threshold=0.7)
    if task is Task.MULTILABEL:
        assert got["prediction"].tolist() == [[False, True]]
    else:
        assert got["hits"].tolist() == got["predicted"].tolist() == [[1, 1]]


def test_labels_need_not_sum_to_one():
    probability = np.array([[0.9, 0.8], [0.1, 0.05], [1.5, 0.5]])
    got = columns(Task.MULTILABEL, probability, np.ones((3, 2), bool), PROBABILITIES)
    assert got["like_probability"].tolist() == [True, True, False]


def test_labels_of_the_wrong_number():
    for outputs in (np.zeros((2, 4)), np.zeros(2), np.zeros((2, 3, 1))):
        with pytest.raises(EvaluationError) as caught:
            columns(Task.MULTILABEL, outputs, np.ones((2, 3), bool))
        assert caught.value.message == (
            f"the model returned shape {outputs.shape} for labels of shape (2, 3)"
        )
    with pytest.raises(EvaluationError) as caught:
        columns(Task.MULTILABEL, np.zeros((2, 3)), np.ones((2, 3), bool), classes=("a", "b"))
    assert caught.value.message == "the model has 3 outputs and the held-out set 2 classes"


# --- segmentation ---------------------------------------------------------------------------


def counts(target, prediction, classes):
    """By hand, a pixel at a time."""
    found = {
        name: np.zeros((len(target), classes), int) for name in ("hits", "predicted", "support")
    }
    for row, (wanted, got) in enumerate(zip(target, prediction, strict=True)):
        for one, other in zip(wanted.reshape(-1), got.reshape(-1), strict=True):
            if one != IGNORED:
                found["support"][row, one] += 1
                found["predicted"][row, other] += 1
                found["hits"][row, one] += one == other
    return found


def masks(classes, *shape):
    target = drawn(classes, *shape)
    target[drawn(5, *shape, seed=2) == 0] = IGNORED
    return target


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [LOGITS, PROBABILITIES])
@pytest.mark.parametrize("at_once", [1, 1000, 1 << 24])
def test_pixels_of_several_channels(dtype, kind, at_once, monkeypatch):
    monkeypatch.setattr(segmentation, "ELEMENTS_AT_ONCE", at_once)
    logits = normal(5, 4, 6, 7)
    outputs = torch.tensor(logits if kind is LOGITS else softmax(logits, axis=1)).to(dtype)
    target = masks(4, 5, 6, 7).astype(np.uint8)
    got = columns(Task.SEGMENTATION, outputs, target, kind)
    for name, expected in counts(target, outputs.double().numpy().argmax(axis=1), 4).items():
        np.testing.assert_array_equal(got[name], expected, err_msg=name)
        assert got[name].dtype == np.int64
    assert got["finite"].all()
    assert got["like_probability"].tolist() == [kind is PROBABILITIES] * 5


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (5, 6, 7)])
@pytest.mark.parametrize("threshold", [None, 0.8])
def test_pixels_of_one_channel(shape, threshold):
    logits = normal(*shape)
    target = masks(2, 5, 6, 7)
    got = columns(Task.SEGMENTATION, logits, target, threshold=threshold)
    prediction = expit(logits.astype(float)).reshape(target.shape) >= (threshold or 0.5)
    for name, expected in counts(target, prediction.astype(int), 2).items():
        np.testing.assert_array_equal(got[name], expected, err_msg=name)
    names = scorer(Task.SEGMENTATION).ledger({"id": np.arange(5), **got}).classes
    assert names == ("0", "1")


def test_volumes_are_masks_too():
    logits, target = normal(2, 3, 4, 5, 6), masks(3, 2, 4, 5, 6)
    got = columns(Task.SEGMENTATION, logits, target)
    for name, expected in counts(target, logits.argmax(axis=1), 3).items():
        np.testing.assert_array_equal(got[name], expected, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
def test_the_dtype_of_a_mask_does_not_matter(dtype):
    target = np.array([[[0, 1], [2, 100]]], dtype=dtype)
    got = columns(Task.SEGMENTATION, normal(1, 3, 2, 2), target, ignore_index=100)
    assert got["support"].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("ignored", [-100, 300])
def test_an_ignored_index_that_the_dtype_cannot_hold(ignored):
    # 156 is -100 as uint8, and 44 is 300.
    target = np.array([[[0, 156], [44, 0]]], dtype=np.uint8)
    got = columns(Task.SEGMENTATION, normal(1, 157, 2, 2), target, ignore_index=ignored)
    assert got["support"].sum() == 4


@pytest.mark.parametrize("kind", [LOGITS, PROBABILITIES])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_not_finite_matter_where_they_are_counted(kind, bad):
    for channels in (1, 3):
        outputs = np.full((2, channels, 2, 2), 1 / 3, dtype=np.float32)
        outputs[:, 0, 0, 1] = bad
        target = np.array([[[0, 1], [1, 0]], [[0, IGNORED], [1, 0]]])
        assert columns(Task.SEGMENTATION, outputs, target, kind)["finite"].tolist() == [False, True]


def test_a_class_may_be_ruled_out_by_minus_infinity():
    outputs = np.zeros((1, 3, 2, 2), dtype=np.float32)
    outputs[0, 1] = -np.inf
    assert columns(Task.SEGMENTATION, outputs, np.zeros((1, 2, 2), int))["finite"].tolist() == [
        True
    ]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 4, 5), "the model returned shape (2, 3, 4, 5) for masks of shape (4, 4)"),
        ((2, 3), "the model returned shape (2, 3) for masks of shape (4, 4)"),
        ((2, 3, 4), "the model returned shape (2, 3, 4) for masks of shape (4, 4)"),
    ],
)
def test_outputs_of_another_size_than_the_mask(shape, message):
    with pytest.raises(EvaluationError) as caught:
        columns(Task.SEGMENTATION, np.zeros(shape), np.zeros((2, 4, 4), int))
    assert caught.value.message == message
    assert "postprocess" in caught.value.remedy


def test_a_threshold_is_of_one_channel():
    with pytest.raises(EvaluationError) as caught:
        columns(Task.SEGMENTATION, np.zeros((1, 2, 4, 4)), np.zeros((1, 4, 4), int), threshold=0.5)
    assert caught.value.message == (
        "the spec states a threshold, and the model returned 2 channels, of which the largest is "
        "the prediction"
    )


def test_a_class_of_a_pixel_that_the_model_does_not_have():
    with pytest.raises(HeldOutError) as caught:
        columns(Task.SEGMENTATION, np.zeros((1, 3, 2, 2)), np.full((1, 2, 2), 254, np.uint8))
    assert caught.value.message == "a target is 254, and the model has 3 classes"
    assert caught.value.remedy == (
        "targets must be integers from 0 to 2, or `heldout.ignore_index`, which is 255"
    )


def test_a_set_of_which_no_pixel_is_counted_is_refused():
    got = columns(Task.SEGMENTATION, np.zeros((2, 3, 2, 2)), np.full((2, 2, 2), IGNORED))
    with pytest.raises(HeldOutError) as caught:
        scorer(Task.SEGMENTATION).require_counted({"id": np.arange(2), **got})
    assert caught.value.message == ("no pixel of the held-out set is counted: every target is 255")


# --- language modelling ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
def test_tokens_of_logits(dtype, at_once, monkeypatch):
    monkeypatch.setattr(language_modeling, "ELEMENTS_AT_ONCE", at_once)
    logits = torch.tensor(normal(6, 5, 11)).to(dtype)
    target = drawn(11, 6, 5)
    target[drawn(4, 6, 5, seed=3) == 0] = IGNORED
    target[2] = IGNORED
    got = columns(Task.LANGUAGE_MODELING, logits, target)
    exact = log_softmax(logits.double().numpy(), axis=2)
    counted = target != IGNORED
    loss = -np.take_along_axis(exact, np.where(counted, target, 0)[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_allclose(got["nll"], (loss * counted).sum(axis=1), rtol=1e-12)
    assert got["tokens"].tolist() == counted.sum(axis=1).tolist()
    hits = (logits.double().numpy().argmax(axis=2) == target) & counted
    assert got["hits"].tolist() == hits.sum(axis=1).tolist()
    assert got["finite"].all()
    assert (got["nll"] >= 0).all()


def test_log_probabilities_are_logits():
    logits, target = normal(3, 4, 7), drawn(7, 3, 4)
    got = columns(Task.LANGUAGE_MODELING, log_softmax(logits.astype(float), axis=2), target)
    expected = columns(Task.LANGUAGE_MODELING, logits, target)
    np.testing.assert_allclose(got["nll"], expected["nll"], rtol=1e-9)


def test_tokens_of_probabilities():
    probability = softmax(normal(3, 4, 7).astype(float), axis=2)
    probability[0, 0] = np.eye(7)[3]
    target = drawn(7, 3, 4)
    target[0, 0] = 4
    got = columns(Task.LANGUAGE_MODELING, probability, target, PROBABILITIES)
    chosen = np.take_along_axis(probability, target[:, :, None], axis=2)[:, :, 0]
    expected = -np.log(np.maximum(chosen, np.finfo(float).eps)).sum(axis=1)
    np.testing.assert_allclose(got["nll"], expected, rtol=1e-12)
    assert got["like_probability"].all()


@pytest.mark.parametrize("kind", [LOGITS, PROBABILITIES])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_padding_may_be_anything(kind, bad):
    outputs = np.full((2, 3, 4), 0.25, dtype=np.float32)
    outputs[:, 2, 1] = bad
    target = np.array([[0, 1, 2], [0, 1, IGNORED]])
    got = columns(Task.LANGUAGE_MODELING, outputs, target, kind)
    assert got["finite"].tolist() == [False, True]
    assert got["nll"][1] == pytest.approx(2 * np.log(4))


def test_a_token_may_be_ruled_out():
    outputs = np.zeros((1, 2, 3), dtype=np.float32)
    outputs[0, :, 1] = -np.inf
    got = columns(Task.LANGUAGE_MODELING, outputs, [[0, 1]])
    assert got["finite"].tolist() == [True]
    assert got["nll"].tolist() == [np.inf]


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 5), (2, 3, 1), (2, 3, 4, 5)])
def test_outputs_that_do_not_fit_the_tokens(shape):
    with pytest.raises(EvaluationError) as caught:
        columns(Task.LANGUAGE_MODELING, np.zeros(shape), np.zeros((2, 3), int))
    assert caught.value.message == f"the model returned shape {shape} for tokens of shape (2, 3)"


def test_a_token_outside_of_the_vocabulary():
    with pytest.raises(HeldOutError) as caught:
        columns(Task.LANGUAGE_MODELING, np.zeros((1, 2, 5)), [[4, 5]])
    assert caught.value.message == "a target is 5, and the model has 5 classes"


def test_a_set_of_which_no_token_is_counted_is_refused():
    got = columns(Task.LANGUAGE_MODELING, np.zeros((2, 3, 4)), np.full((2, 3), IGNORED))
    with pytest.raises(HeldOutError) as caught:
        scorer(Task.LANGUAGE_MODELING).require_counted({"id": np.arange(2), **got})
    assert caught.value.message == "no token of the held-out set is counted: every target is 255"


# --- all of them ----------------------------------------------------------------------------

SHAPES = {
    Task.MULTILABEL: ((30, 3), np.ones((30, 3), bool)),
    Task.SEGMENTATION: ((30, 3, 2, 2), np.zeros((30, 2, 2), int)),
    Task.LANGUAGE_MODELING: ((30, 4, 3), np.zeros((30, 4), int)),
}


@pytest.mark.parametrize("task", SHAPES)
def test_what_outputs_are_is_held_against_what_they_look_like(task):
    shape, target = SHAPES[task]
    axis = {Task.SEGMENTATION: 1}.get(task, -1)
    probability = softmax(normal(*shape), axis=axis)
    for kind, outputs, words in [
        (LOGITS, probability, "the outputs of all 30 samples look like probabilities"),
        (PROBABILITIES, normal(*shape), "samples are not probabilities"),
    ]:
        with pytest.raises(EvaluationError, match=words):
            scorer(task, kind).require_declared(columns(task, outputs, target, kind))
    for kind, outputs in [(LOGITS, normal(*shape)), (PROBABILITIES, probability)]:
        found = columns(task, outputs, target, kind)
        scorer(task, kind).require_declared(found)
        assert len(found["finite"]) == 30


@pytest.mark.parametrize("task", SHAPES)
def test_integers_are_no_outputs(task):
    shape, target = SHAPES[task]
    with pytest.raises(EvaluationError, match="the model returned int64 numbers"):
        columns(task, np.zeros(shape, dtype=np.int64), target)


@pytest.mark.parametrize("task", SHAPES)
def test_only_labels_stay_in_the_ledger(task):
    assert scorer(task).keeps_targets is (task is Task.MULTILABEL)
