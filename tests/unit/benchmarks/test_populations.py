"""The benchmark of statistics is as good as the truths that it holds intervals against."""

import numpy as np
import pytest

from benchmarks.stats import coverage, ours
from benchmarks.stats.population import ref_of
from benchmarks.stats.populations import populations
from model_eval.metrics import Weighted, values_of

ROUNDS, ROWS = 10, 20_000
POPULATIONS = populations()


def value(population, drawn, label):
    ref = ref_of(label)
    if population.kind == "difference":
        now, then = (values_of(Weighted(ledger=side).rows(), ref)[0] for side in drawn)
        return now - then
    if population.kind == "gap":
        parts = drawn["slice:part"]
        weights = (parts == np.unique(parts)[:, None]).astype(float)
        values = [values_of(Weighted(ledger=drawn, base=part).rows(), ref)[0] for part in weights]
        return max(values) - min(values)
    base = drawn["weight"] if "weight" in drawn.columns else None
    return values_of(Weighted(ledger=drawn, base=base).rows(), ref)[0]


@pytest.mark.parametrize("population", POPULATIONS, ids=lambda one: one.name)
def test_large_sets_have_the_values_that_are_called_true(population):
    if population.name == "ten equal slices":
        pytest.skip("the gap of equal slices is 0, and that of any sample is above")
    generator = np.random.default_rng(1)
    labels = ours.metrics_of(population)
    found = []
    for _ in range(ROUNDS):
        drawn = population.draw(generator, ROWS)
        found.append([value(population, drawn, label) for label in labels])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(ROUNDS)
    truth = np.array([population.truths[label] for label in labels])
    # Student's t with 9 degrees of freedom is beyond 6 once in 5,000 times.
    assert dict(zip(labels, np.abs(mean - truth) / error < 6, strict=True)) == dict.fromkeys(
        labels, True
    )


def test_pooled_draws_are_those_of_the_product():
    ledger = POPULATIONS[0].draw(np.random.default_rng(0), 50)
    pooled = ours.sampled_of(ledger, seed=1)
    plain = ours.Sampled(sample=pooled.sample, seed=1, confidence=pooled.confidence)
    assert np.array_equal(pooled.rows.draws.multiplicity, plain.rows.draws.multiplicity)
    assert np.array_equal(pooled.rows.group, plain.rows.group)


@pytest.mark.parametrize("name", ["clusters", "weights"])
def test_clusters_and_weights_make_their_own_draws(name):
    [population] = [one for one in POPULATIONS if one.name == name]
    sampled = ours.sampled_of(population.draw(np.random.default_rng(0), 200), seed=0)
    plain = ours.Sampled(sample=sampled.sample, seed=0, confidence=sampled.confidence)
    assert sampled.rows.units == plain.rows.units < 200
    assert np.array_equal(sampled.rows.group, plain.rows.group)


def test_a_tally_counts_each_side_and_what_is_missing():
    tally = coverage.Tally()
    for low, high in [(0.1, 0.3), (0.3, 0.4), (0.0, 0.1), (float("nan"), 1.0)]:
        tally.add(0.2, low, high)
    row = tally.as_row()
    assert (row["sets"], row["missing"], row["coverage"]) == (3, 1, 0.3333)
    assert (row["promises_too_much"], row["promises_too_little"]) == (0.3333, 0.3333)
