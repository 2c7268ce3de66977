"""The benchmark of runs that end early judges as the product does."""

import numpy as np
import pytest

from benchmarks import stop_early
from model_eval.early_stop import LEAST
from model_eval.stats.sequence import ends, trials_tally

TAIL = 0.025


@pytest.mark.parametrize("threshold", [0.8, 0.95])
def test_a_threshold_is_rejected_where_it_is_outside_of_the_sequence(threshold):
    n = 1_000
    seen = np.array([300, 600, 900, 1_000])
    for share in (0.7, 0.8, 0.93, 0.95, 0.99):
        right = np.round(seen * share)
        counts = np.stack([seen - right, right], axis=1)[None]
        passed, failed = stop_early.decided(
            counts, np.array([0.0, 1.0]), threshold, n=n, below=TAIL, above=TAIL
        )
        for look in range(3):
            low, high = ends(
                trials_tally(right[look], seen[look]), planned=n, below=TAIL / 2, above=TAIL / 2
            )
            assert (passed[0, look], failed[0, look]) == (low >= threshold, high < threshold)


def test_looks_add_up_and_the_first_verdict_counts():
    steps = stop_early.sizes_of(100_000)
    assert (steps.sum(), len(steps), steps.max()) == (100_000, 100, 1_000)
    seen = np.array([256, 512, 768, 1_000])
    passed = np.array([[True, False, True], [False, False, False]])
    failed = np.array([[False, True, False], [False, False, False]])
    found = stop_early.ended(passed, failed, np.array([1, 1]), None, seen)
    # What is decided before the least number of samples does not count yet.
    assert seen[0] < LEAST <= seen[1]
    assert found.verdict.tolist() == [stop_early.FAIL, stop_early.PASS]
    assert found.samples.tolist() == [512, 1_000]


def test_several_gates_fail_by_one_and_pass_by_all():
    verdicts = [[1, 1, 1, 0], [1, 0, -1, 0]]
    assert stop_early.together(verdicts).tolist() == [1, 0, -1, 0]


def test_few_runs_have_few_wrong_verdicts():
    rng = np.random.default_rng(0)
    found = stop_early.row(stop_early.shares(rng, 2_000, 0.95, 0.95, 400), n=2_000, distance=0.0)
    assert found["wrong_passes"] <= 0.05
    assert found["wrong_fails"] <= 0.05
    far = stop_early.row(
        stop_early.drops(rng, 10_000, -0.02, 0.01, 0.04, 50), n=10_000, distance=0.03
    )
    assert (far["passed"], far["median_share"] < 0.3) == (1.0, True)
