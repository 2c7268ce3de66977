"""The noise floor of fake models: what hangs on the batch is seen, and nothing fails the run."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_eval.engine.noise import largest_difference, measure_noise
from model_eval.engine.rescore import outputs_of
from model_eval.engine.sample import Sample
from model_eval.errors import EvaluationError, OutOfMemoryError
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import MetricRef, NoiseMetric, OutputKind, Task

ACCURACY, AUROC = MetricRef(name="accuracy"), MetricRef(name="auroc")
SCORER = Scorer(
    task=Task.BINARY, kind=OutputKind.LOGITS, threshold=0.5, classes=("no", "yes"), outputs=()
)


def sample(n=40, target=None, weight=None):
    x = torch.linspace(-2, 2, n)
    rows = np.arange(n)
    target = (x > 0).numpy().astype(np.int64) if target is None else target
    labels = Labels(ids=rows, target=target, cluster=None, weight=weight, slices={})
    return Sample(rows=Batch(args=(x,), kwargs={}, labels=labels), positions=rows, of=n)


def noise(predict, on_cpu=None, refs=(ACCURACY,), **options):
    return measure_noise(predict, sample(**options), SCORER, refs, on_cpu=on_cpu)


def refuse(message):
    raise EvaluationError(message, remedy="-")


def test_a_quiet_model_has_no_noise():
    sizes = []

    def predict(args, _):
        sizes.append(len(args[0]))
        return args[0]

    found = noise(predict)
    assert sizes == [32, 32, *[8] * 4, *[1] * 32]
    assert found.samples == 32
    assert found.largest_output == 2
    assert found.repeat_difference == found.batch_difference == 0
    assert found.device_difference is None
    assert found.metrics == (NoiseMetric(metric=ACCURACY, difference=0.0),)
    assert found.skipped == ()


def test_batch_statistics_are_seen_in_outputs_and_in_the_metric():
    # The shift of a batch norm in training mode: a single sample is its own mean.
    found = noise(lambda args, _: args[0] - args[0].mean() + 1e-9)
    assert found.repeat_difference == 0
    assert found.batch_difference > 1
    assert found.metrics[0].difference > 0.2


@pytest.mark.parametrize(("n", "samples"), [(30, 30), (300, 300), (2_000, 512)])
def test_one_sample_that_changes_sides_is_looked_at_among_more(n, samples):
    """Alone among 32 it moves a share by 0.03, which no gate on a large set would survive."""
    lowest = -2 + 1e-3

    def predict(args, _):
        return torch.where((args[0] < lowest) & (len(args[0]) == 1), 1.0, args[0])

    found = noise(predict, n=n)
    assert found.samples == samples
    assert found.metrics == (NoiseMetric(metric=ACCURACY, difference=pytest.approx(1 / samples)),)


def test_a_closer_look_that_fails_leaves_the_first():
    calls = iter(range(10**6))

    def predict(args, _):
        if next(calls) > 60:
            refuse("later")
        return args[0] - args[0].mean() + 1e-9

    found = noise(predict, n=300)
    assert (found.samples, found.skipped) == (32, ())
    assert found.metrics[0].difference > 0


def test_a_sample_of_weight_0_makes_no_noise():
    weight = np.where(np.arange(40) == 3, 0.0, 1.0)
    shift = iter([0.0])

    def predict(args, _):
        return args[0] + next(shift, 100.0) * (args[0] == -2)

    lowest = np.where(np.arange(40) == 0, 0.0, 1.0)
    assert noise(predict, weight=lowest).metrics[0].difference == 0
    shift = iter([0.0])
    assert noise(predict, weight=weight).metrics[0].difference == pytest.approx(32 / 40 / 31)


def test_the_repeat_is_compared_with_the_first():
    shift = iter([0.0, 0.25])
    found = noise(lambda args, _: args[0] + next(shift, 0.0))
    assert found.repeat_difference == pytest.approx(0.25)
    assert found.batch_difference == 0


def test_another_device():
    found = noise(lambda args, _: args[0], on_cpu=lambda: lambda args, _: args[0] * 1.5)
    assert found.device_difference == pytest.approx(1.0)
    assert found.batch_difference == 0
    failing = noise(lambda args, _: args[0], on_cpu=lambda: refuse("no copy"))
    assert failing.device_difference is None
    assert failing.skipped == ("the CPU: no copy",)


def test_a_batch_size_that_fails_is_left_out_and_named():
    def predict(args, _):
        return refuse("a batch of one") if len(args[0]) == 1 else args[0]

    found = noise(predict)
    assert found.batch_difference == 0
    assert found.skipped == ("batches of 1: a batch of one",)
    assert found.metrics == (NoiseMetric(metric=ACCURACY, difference=0.0),)


@pytest.mark.parametrize("fits", [1, 5, 31])
def test_a_batch_that_does_not_fit_is_run_in_smaller_ones(fits):
    def predict(args, _):
        if len(args[0]) > fits:
            raise OutOfMemoryError("too many")
        return args[0]

    found = noise(predict)
    assert (found.samples, found.skipped) == (32, ())
    assert found.repeat_difference == found.batch_difference == 0


def test_memory_that_ends_where_a_batch_is_copied(monkeypatch):
    clone = torch.Tensor.clone

    def small(tensor):
        if len(tensor) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return clone(tensor)

    monkeypatch.setattr(torch.Tensor, "clone", small)
    rows = sample()
    assert torch.equal(outputs_of(lambda args, _: args[0], rows, 32), rows.rows.args[0])


def test_one_sample_that_does_not_fit_leaves_no_measure():
    def predict(_args, _):
        raise OutOfMemoryError("not even one")

    assert noise(predict).skipped == ("batches of 32: not even one",)


def test_a_model_that_fails_now_leaves_no_measure():
    found = noise(lambda _args, _kwargs: refuse("now"))
    assert (found.samples, found.metrics) == (0, ())
    assert found.skipped == ("batches of 32: now",)


def test_outputs_that_are_finite_in_some_batches_only_undo_the_metric():
    def predict(args, _):
        return args[0] * torch.nan if len(args[0]) == 8 else args[0]

    found = noise(predict)
    assert found.batch_difference == 0  # of the batches of one
    assert found.skipped == (
        "batches of 8: some outputs are finite in one way of running them only",
    )
    assert found.metrics == (NoiseMetric(metric=ACCURACY, difference=None),)


def test_a_metric_that_no_way_defines_is_left_out():
    found = noise(
        lambda args, _: args[0], refs=(AUROC, ACCURACY), target=np.ones(40, dtype=np.int64)
    )
    assert [one.metric for one in found.metrics] == [ACCURACY]


def test_a_few_samples_are_enough():
    assert noise(lambda args, _: args[0], n=1).samples == 1


FLOATS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=20))
def test_the_largest_difference_is_numpys(pairs):
    one, other = torch.tensor(pairs, dtype=torch.float64).T
    assert largest_difference(one, other) == np.abs(one.numpy() - other.numpy()).max()


def test_the_same_nan_and_infinity_are_no_difference():
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0])
    assert largest_difference(values, values.clone()) == 0
    with pytest.raises(EvaluationError, match="finite in one way"):
        largest_difference(values, torch.tensor([torch.nan, -torch.inf, -torch.inf, 1.0]))
    with pytest.raises(EvaluationError, match=r"shapes \(4,\) and \(3,\)"):
        largest_difference(values, values[:3])
