"""What a batch of outputs leaves in the ledger, against scipy's and numpy's own arithmetic."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from model_eval.errors import EvaluationError, HeldOutError
from model_eval.tasks import Scorer
from model_eval.types import OutputKind, Task

LOGITS, PROBABILITIES = OutputKind.LOGITS, OutputKind.PROBABILITIES


def scorer(task, kind=LOGITS, *, threshold=None, classes=None, outputs=()):
    if task is Task.BINARY and threshold is None:
        threshold = 0.5
    if task is Task.REGRESSION:
        kind = None
    return Scorer(task=task, kind=kind, threshold=threshold, classes=classes, outputs=outputs)


def columns(task, outputs, target, **options):
    target = np.asarray(target, dtype=float if task is Task.REGRESSION else np.int64)
    scoring = scorer(task, **options)
    outputs = torch.as_tensor(outputs)
    found = {name: one.numpy() for name, one in scoring.columns(outputs, target).items()}
    if not scoring.keeps_outputs:
        return found
    labels = {"id": np.arange(len(target)), "target": target}
    return scoring.ledger({**labels, **found}, outputs).columns


def hold_against_spec(task, outputs, kind):
    """Holds what outputs look like against what they are said to be; gives how many they are."""
    scoring, target = scorer(task, kind), np.arange(len(outputs)) % 2
    given = torch.as_tensor(outputs)
    found = {name: one.numpy() for name, one in scoring.columns(given, target).items()}
    scoring.require_declared(found, given if scoring.keeps_outputs else None)
    return len(found["finite"])


LOGIT = np.array([-3.0, -0.1, 0.0, 2.5, 40.0, -745.0], dtype=np.float32)
TARGET = np.array([0, 1, 1, 0, 0, 1])


@pytest.mark.parametrize("shape", ["(N,)", "(N, 1)", "(N, 2)"])
def test_binary_logits_of_every_shape(shape):
    outputs = {
        "(N,)": LOGIT,
        "(N, 1)": LOGIT[:, None],
        "(N, 2)": np.stack([np.full_like(LOGIT, 1.5), LOGIT + np.float32(1.5)], axis=1),
    }[shape]
    got = columns(Task.BINARY, outputs, TARGET)
    logit = LOGIT.astype(float)
    exact = np.where(TARGET == 1, np.logaddexp(0, -logit), np.logaddexp(0, logit))
    tolerance = 1e-6 if shape == "(N, 2)" else 1e-12
    np.testing.assert_allclose(got["probability"], expit(logit), rtol=tolerance)
    np.testing.assert_allclose(got["log_loss"], exact, rtol=tolerance)
    assert got["prediction"].tolist() == [0, 0, 1, 1, 1, 0]
    assert got["finite"].all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_binary_threshold_itself_is_positive(threshold, dtype):
    itself = torch.tensor(threshold, dtype=dtype)
    below = itself - itself * 2 * torch.finfo(dtype).eps
    outputs = torch.stack([below, itself])
    got = columns(Task.BINARY, outputs, [0, 1], kind=PROBABILITIES, threshold=threshold)
    assert got["prediction"].tolist() == (outputs >= threshold).long().tolist() == [0, 1]


def test_the_default_device_of_the_repositorys_code_changes_no_threshold():
    outputs = torch.tensor([0.6, 0.7])
    with torch.device("meta"):
        found = scorer(Task.BINARY, PROBABILITIES, threshold=0.7).columns(outputs, np.array([0, 1]))
    assert found["prediction"].tolist() == [0, 1]


def test_a_threshold_that_a_dtype_does_not_hold_is_not_0():
    outputs = torch.tensor([0.0, 1e-7], dtype=torch.float16)
    got = columns(Task.BINARY, outputs, [0, 1], kind=PROBABILITIES, threshold=1e-9)
    assert got["prediction"].tolist() == [0, 1]


def test_multiclass_logits():
    outputs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 20
    target = np.arange(50) % 4
    got = columns(Task.MULTICLASS, outputs, target)
    exact = log_softmax(outputs.astype(float), axis=1)
    # A small one is what two numbers near 1 leave: good to their last digit.
    np.testing.assert_allclose(
        got["log_loss"], -exact[np.arange(50), target], rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(got["probability"], softmax(outputs.astype(float), 1), rtol=1e-6)
    assert got["probability"].dtype == np.float32
    assert got["prediction"].tolist() == outputs.argmax(axis=1).tolist()


def test_float64_outputs_keep_their_resolution():
    outputs = torch.zeros((3, 2), dtype=torch.float64)
    assert columns(Task.MULTICLASS, outputs, [0, 1, 0])["probability"].dtype == np.float64


def test_probabilities_are_clipped_as_scikit_learn_does():
    from sklearn.metrics import log_loss

    probability = np.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    target = [1, 1, 1]
    expected = log_loss(target, probability, labels=[0, 1])
    got = columns(Task.MULTICLASS, probability, target, kind=PROBABILITIES)["log_loss"].mean()
    assert got == pytest.approx(expected, rel=1e-9)
    got = columns(Task.BINARY, probability, target, kind=PROBABILITIES)["log_loss"].mean()
    assert got == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("task", "outputs", "target"),
    [
        (Task.BINARY, [0.0, 1.0], [0, 1]),
        (Task.MULTICLASS, [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [0, 2]),
        (Task.REGRESSION, [0.0, 1.0], [[0.0], [1.0]]),
    ],
)
def test_outputs_that_are_not_finite_are_marked(task, outputs, target, bad):
    outputs = np.array(outputs, dtype=np.float32)
    outputs.reshape(2, -1)[1, 0] = bad
    assert columns(task, outputs, target)["finite"].tolist() == [True, False]


def test_a_class_may_be_ruled_out_by_a_logit_of_minus_infinity():
    got = columns(Task.MULTICLASS, [[0.0, -np.inf], [-np.inf, 0.0]], [0, 0])
    assert got["finite"].tolist() == [True, True]
    assert got["log_loss"].tolist() == [0.0, np.inf]
    got = columns(Task.MULTICLASS, [[-np.inf, -np.inf]], [0])
    assert got["finite"].tolist() == [False]


@pytest.mark.parametrize(
    ("task", "outputs", "target", "message"),
    [
        (Task.BINARY, np.zeros((2, 3)), [0, 1], "the model returned shape (2, 3); a binary task needs (N,), (N, 1) or (N, 2)"),
        (Task.BINARY, np.zeros((3,)), [0, 1], "the model returned shape (3,) for a batch of 2 samples"),
        (Task.BINARY, np.zeros(()), [0], "the model returned shape () for a batch of 1 sample"),
        (Task.MULTICLASS, np.zeros(2), [0, 1], "the model returned shape (2,); a multiclass task needs (N, C)"),
        (Task.MULTICLASS, np.zeros((2, 1)), [0, 1], "the model returned shape (2, 1); a multiclass task needs (N, C)"),
        (Task.MULTICLASS, np.zeros((2, 3, 4)), [0, 1], "the model returned shape (2, 3, 4); a multiclass task needs (N, C)"),
        (Task.REGRESSION, np.zeros((2, 3)), [[0.0], [1.0]], "the model returned shape (2, 3) for targets of shape (2, 1)"),
        (Task.REGRESSION, np.zeros(2), [[0.0, 1.0]] * 2, "the model returned shape (2,) for targets of shape (2, 2)"),
        (Task.BINARY, np.zeros(2, dtype=complex), [0, 1], "the model returned complex128 numbers"),
        (Task.BINARY, np.zeros(2, dtype=bool), [0, 1], "the model returned bool numbers"),
        (Task.BINARY, np.zeros(2, dtype=np.int64), [0, 1], "the model returned int64 numbers"),
    ],
)  # fmt: skip
def test_outputs_of_the_wrong_shape(task, outputs, target, message):
    with pytest.raises(EvaluationError) as caught:
        columns(task, outputs, target)
    assert caught.value.message == message


def test_nothing_broadcasts_in_regression():
    got = columns(Task.REGRESSION, np.arange(3.0), np.arange(3.0)[:, None])
    assert got["prediction"].shape == (3, 1)


@pytest.mark.parametrize(("bad", "shown"), [(-1, "-1"), (3, "3")])
def test_a_target_that_is_no_class(bad, shown):
    with pytest.raises(HeldOutError) as caught:
        columns(Task.MULTICLASS, np.zeros((2, 3)), [0, bad])
    assert caught.value.message == f"a target is {shown}, and the model has 3 classes"


def test_class_names_must_be_as_many_as_outputs():
    with pytest.raises(EvaluationError) as caught:
        columns(Task.MULTICLASS, np.zeros((2, 3)), [0, 1], classes=("a", "b"))
    assert caught.value.message == "the model has 3 outputs and the held-out set 2 classes"


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        (Task.BINARY, np.array([0.2, 1.5])),
        (Task.BINARY, np.array([[0.5, 0.5], [0.1, 0.1]])),
        (Task.MULTICLASS, np.array([[0.5, 0.5], [-0.5, 1.5]])),
        (Task.MULTICLASS, np.array([[0.5, 0.5], [3.0, 2.0]])),
    ],
)
def test_logits_declared_as_probabilities_are_refused(task, outputs):
    with pytest.raises(EvaluationError) as caught:
        hold_against_spec(task, outputs, PROBABILITIES)
    assert caught.value.message == (
        "the outputs of 1 of 2 samples are not probabilities (outside 0 to 1, or not summing to 1)"
    )
    assert caught.value.remedy == "set `model.output: logits`, or use model.postprocess"


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        (Task.BINARY, np.linspace(0, 1, 20)),
        (Task.BINARY, np.stack([np.linspace(0, 1, 20), 1 - np.linspace(0, 1, 20)], axis=1)),
        (Task.MULTICLASS, softmax(np.random.default_rng(0).normal(size=(20, 3)), axis=1)),
    ],
)
def test_probabilities_declared_as_logits_are_refused(task, outputs):
    with pytest.raises(EvaluationError) as caught:
        hold_against_spec(task, outputs, LOGITS)
    assert caught.value.message == (
        "the outputs of all 20 samples look like probabilities, "
        "and the spec says that they are logits"
    )
    assert hold_against_spec(task, outputs[:19], LOGITS) == 19  # too few to tell
    assert hold_against_spec(task, outputs * 1.2, LOGITS) == 20


def test_one_row_of_many_tells_what_outputs_are():
    """Whole blocks look like probabilities, and a later one does not."""
    outputs = np.full((100_000, 2), 0.5, dtype=np.float32)
    with pytest.raises(EvaluationError, match="all 100000 samples look like probabilities"):
        hold_against_spec(Task.MULTICLASS, outputs, LOGITS)
    outputs[-1] = 3
    assert hold_against_spec(Task.MULTICLASS, outputs, LOGITS) == 100_000
    outputs[-1] = np.nan  # tells nothing
    with pytest.raises(EvaluationError, match="all 99999 samples look like probabilities"):
        hold_against_spec(Task.MULTICLASS, outputs, LOGITS)


def test_scores_order_what_probabilities_cannot():
    got = columns(Task.BINARY, [45.0, 100.0], [1, 0])
    assert got["probability"].tolist() == [1.0, 1.0]
    assert got["score"].tolist() == [45.0, 100.0]
    got = columns(Task.MULTICLASS, [[0.0, 20.0], [0.0, 30.0]], [1, 0])
    assert got["probability"][0, 1] == got["probability"][1, 1] == 1
    assert got["score"][0, 1] < got["score"][1, 1]
    assert "score" not in columns(Task.BINARY, [0.2, 0.3], [1, 0], kind=PROBABILITIES)


@pytest.mark.parametrize(
    ("declared", "width", "names"),
    [(("y",), 1, ("y",)), (("y",), 3, ("y.0", "y.1", "y.2")), (("a", "b"), 2, ("a", "b"))],
)
def test_names_of_regression_outputs(declared, width, names):
    rows = {
        "id": np.arange(2),
        "target": np.zeros((2, width)),
        "prediction": np.zeros((2, width)),
        "finite": np.ones(2, dtype=bool),
    }
    assert scorer(Task.REGRESSION, outputs=declared).ledger(rows).outputs == names
