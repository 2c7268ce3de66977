"""Untrained models against a checkpoint, both fake: who is compared, and when nobody is."""

import numpy as np
import pytest
import torch

from model_eval.engine.control import Fresh, run_control
from model_eval.engine.rescore import ledger_of, outputs_of
from model_eval.engine.sample import Sample
from model_eval.errors import UserCodeError
from model_eval.heldout import Batch, Labels
from model_eval.metrics import estimates, weighted
from model_eval.tasks import Scorer
from model_eval.types import MetricRef, OutputKind, Task

ACCURACY, RECALL, PRECISION = (MetricRef(name=n) for n in ("accuracy", "recall", "precision"))
SCORER = Scorer(
    task=Task.BINARY, kind=OutputKind.LOGITS, threshold=0.5, classes=("no", "yes"), outputs=()
)
OWN = {"weight": "the checkpoint's"}


def right(args, _):
    return args[0]


def always(args, _):
    return torch.ones(len(args[0])) * 3


def never(args, _):
    return -always(args, _)


def coin(seed):
    def predict(args, _):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(args[0]), generator=generator)

    return predict


def sample(n=200, cluster=None, weight=None):
    x = torch.linspace(-2, 2, n)
    rows = np.arange(n)
    labels = Labels(
        ids=rows, target=(x > 0).numpy().astype(np.int64), cluster=cluster, weight=weight, slices={}
    )
    return Sample(rows=Batch(args=(x,), kwargs={}, labels=labels), positions=rows, of=n)


def run(fresh, *, checkpoint=right, refs=(ACCURACY,), rows=None, weights=None, seed=0):
    rows = sample() if rows is None else rows
    made = []

    def make(seed):
        made.append(seed)
        predict = fresh(seed) if callable(fresh) else fresh[seed - 1]
        return Fresh(predict=predict, weights={"weight": seed} if weights is None else weights)

    ledger = ledger_of(outputs_of(checkpoint, rows, 64), rows, SCORER)
    found = run_control(
        make,
        weights=OWN,
        ledger=ledger,
        sample=rows,
        scorer=SCORER,
        refs=refs,
        batch_size=64,
        seed=seed,
    )
    return found, made


def test_a_trained_model_beats_two_untrained_ones():
    found, made = run(coin)
    assert made == [1, 2]
    assert (found.worse, found.skipped, found.n, found.of) == (True, None, 200, 200)
    [metric] = found.trials[0].metrics
    assert metric.checkpoint_value == 1
    assert metric.value == pytest.approx(0.5, abs=0.1)
    # Of the difference of a certain and of a coin's accuracy.
    assert metric.standard_error == pytest.approx((0.25 / 200) ** 0.5, rel=0.2)


def test_a_checkpoint_that_is_no_better_is_found_out():
    found, made = run(lambda _seed: always, checkpoint=always)
    assert made == [1, 2]
    assert (found.worse, found.skipped) == (False, None)


def test_one_lucky_untrained_model_is_outvoted():
    found, made = run([right, coin(1), coin(2)])
    assert made == [1, 2, 3]
    assert found.worse is True


def test_a_perfect_recall_of_yes_to_everything_does_not_save_it():
    found, _ = run(lambda _seed: always, refs=(RECALL, ACCURACY))
    assert found.worse is True
    assert [one.metric for one in found.trials[0].metrics] == [RECALL, ACCURACY]
    found, _ = run(lambda _seed: never, refs=(RECALL, ACCURACY))
    assert [one.metric for one in found.trials[0].metrics] == [RECALL]  # it settles it


def test_undefined_metrics_leave_it_open():
    found, made = run(lambda _seed: never, refs=(PRECISION,))
    assert made == [1, 2, 3]
    assert found.worse is None
    assert found.skipped == "metrics of the untrained models are undefined, or cannot be compared"


def test_a_small_lead_leaves_it_open():
    # Wrong on the 4 lowest of 200: behind by two standard errors of 0.01.
    found, _ = run(lambda _seed: lambda args, _: torch.where(args[0] < -1.93, 1.0, args[0]))
    metric = found.trials[0].metrics[0]
    ahead = (metric.checkpoint_value - metric.value) / metric.standard_error
    assert ahead == pytest.approx(2, rel=0.2)
    assert found.worse is None
    assert found.skipped == "200 samples are too few to tell the checkpoint from untrained models"


def test_few_samples_or_clusters_are_not_compared():
    found, made = run(coin, rows=sample(99))
    assert (found.n, found.worse, made) == (0, None, [])
    assert found.skipped == "99 samples are too few, it takes 100"
    found, made = run(coin, rows=sample(200, cluster=np.arange(200) % 19))
    assert made == []
    assert found.skipped == "19 clusters of samples are too few, it takes 20"


def test_a_sample_of_weight_0_has_no_say():
    # Right where nothing is counted, and a coin where it is.
    weight = np.repeat([1.0, 0.0], 200)
    rows = sample(400, weight=weight)

    def trained(args, _):
        return torch.where(args[0] > 0, args[0], coin(9)(args, None))

    found, _ = run(coin, rows=rows, checkpoint=trained)
    ledger = ledger_of(outputs_of(trained, rows, 64), rows, SCORER)
    assert found.worse is not True
    assert found.n == 200
    metric = found.trials[0].metrics[0]
    assert metric.checkpoint_value == estimates(weighted(ledger), (ACCURACY,))[0].value
    assert metric.checkpoint_value == pytest.approx(0.5, abs=0.15)
    assert metric.value == pytest.approx(0.5, abs=0.15)
    assert metric.standard_error == pytest.approx((0.5 / 200) ** 0.5, rel=0.25)


def test_samples_of_weight_0_are_not_enough():
    found, made = run(coin, rows=sample(400, weight=np.repeat([1.0, 0.0], [99, 301])))
    assert made == []
    assert found.skipped == "99 samples are too few, it takes 100"
    half = np.tile([1.0, 0.0], 200)
    found, made = run(coin, rows=sample(400, cluster=np.arange(400) % 38, weight=half))
    assert made == []
    assert found.skipped == "19 clusters of samples are too few, it takes 20"


def test_samples_of_a_cluster_are_drawn_together():
    # Right in every other cluster as a whole: no more certain than 40 coins.
    rows = sample(400, cluster=np.arange(400) // 10)

    def by_cluster(args, _):
        cluster = ((args[0] + 2) / 4 * 399).round().long() // 10
        return args[0] * torch.where(cluster % 2 == 1, 1.0, -1.0)

    found, _ = run(lambda _seed: by_cluster, rows=rows)
    error = found.trials[0].metrics[0].standard_error
    assert error == pytest.approx((0.25 / 40) ** 0.5, rel=0.2)


def test_weights_that_are_not_untrained_are_no_control():
    found, made = run(coin, weights=OWN)
    assert made == [1]
    assert found.skipped == "the factory gives the checkpoint's own weights, not untrained ones"
    found, made = run(coin, weights={"weight": "loaded"})
    assert made == [1, 2]
    assert found.skipped == "the factory gives the same weights whatever the seed"
    assert (found.trials, found.worse, found.n) == ((), None, 0)


def test_what_fails_is_skipped():
    def fails(_seed):
        raise UserCodeError("the factory wants the network")

    found, _ = run(fails)
    assert found.skipped == "no untrained model could be judged: the factory wants the network"
    assert run(coin, refs=())[0].skipped == "no metric of the predictions is gated or reported"


def test_a_stop_is_a_stop():
    def stops(_seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(stops)


def test_outputs_like_probabilities_are_no_fault_of_an_untrained_model():
    found, _ = run(lambda _seed: lambda args, _: torch.full((len(args[0]),), 0.25))
    assert found.worse is True


def test_it_is_the_same_every_time():
    assert run(coin)[0] == run(coin)[0]


def test_the_seed_after_the_largest_is_the_first():
    found, made = run(coin, seed=2**32 - 2)
    assert made == [2**32 - 1, 0]
    assert [trial.seed for trial in found.trials] == made
