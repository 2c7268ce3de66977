"""Populations of classifiers that are given by a confusion matrix: every metric has a closed form.

A cell `joint[t, p]` is the probability of target t predicted as p.
"""

import numpy as np

from benchmarks.stats.ledgers import class_ledger
from benchmarks.stats.population import Population

CLASSES = 10


def joint_of(prior, recall):
    """(C, C) cells where each class is right so often, and else any other class alike."""
    prior, recall = np.asarray(prior, float), np.asarray(recall, float)
    size = len(prior)
    cells = np.repeat((1 - recall)[:, None] / (size - 1), size, axis=1)
    np.fill_diagonal(cells, recall)
    return prior[:, None] * cells


def truths_of(joint):
    """Metric → true value, by the textbook's formulas."""
    hits, support, predicted = np.diag(joint), joint.sum(axis=1), joint.sum(axis=0)
    f1 = 2 * hits / (support + predicted)
    chance = support @ predicted
    right = hits.sum()
    matthews = (right - chance) / np.sqrt((1 - support @ support) * (1 - predicted @ predicted))
    last = f"[c{len(joint) - 1}]"
    return {
        "accuracy": right,
        "f1_macro": f1.mean(),
        "f1_weighted": f1 @ support,
        "recall_macro": (hits / support).mean(),
        "recall[c0]": hits[0] / support[0],
        f"recall{last}": hits[-1] / support[-1],
        f"f1{last}": f1[-1],
        "balanced_accuracy": (hits / support).mean(),
        "matthews_corrcoef": matthews,
        "cohen_kappa": (right - chance) / (1 - chance),
    }


def draw_cells(generator, n, joint):
    """Targets (N,) and predictions (N,)."""
    cell = generator.choice(joint.size, size=n, p=joint.ravel())
    return np.divmod(cell, len(joint))


def of_joint(name, says, prior, recall, metrics, **more) -> Population:
    """Independent samples of a confusion matrix."""
    joint = joint_of(prior, recall)

    def draw(generator, n):
        target, prediction = draw_cells(generator, n, joint)
        return class_ledger(target, prediction, len(joint))

    truths = truths_of(joint)
    return Population(
        name=name, says=says, draw=draw, truths={m: truths[m] for m in metrics}, **more
    )


def clustered(name, says, *, size, accuracy, correlation) -> Population:
    """Clusters of 1 to 20 samples whose chance to be right is Beta with this intraclass correlation."""
    joint = joint_of(np.full(size, 1 / size), np.full(size, accuracy))
    spread = 1 / correlation - 1

    def draw(generator, n):
        # n / 10.5 clusters have n samples in the mean.
        lengths = generator.integers(1, 21, size=round(n / 10.5))
        chance = generator.beta(accuracy * spread, (1 - accuracy) * spread, size=len(lengths))
        cluster = np.repeat(np.arange(len(lengths)), lengths)
        target = generator.integers(0, size, len(cluster))
        right = generator.random(len(cluster)) < chance[cluster]
        other = (target + generator.integers(1, size, len(cluster))) % size
        return class_ledger(target, np.where(right, target, other), size, cluster=cluster)

    truths = truths_of(joint)
    kept = {m: truths[m] for m in ("accuracy", "f1_macro")}
    return Population(name=name, says=says, draw=draw, truths=kept)


def weighted(name, says) -> Population:
    """Samples of weight 1, 3 and 10, of which the heavy ones are harder."""
    weights, share = np.array([1.0, 3.0, 10.0]), np.array([0.7, 0.25, 0.05])
    accuracy, size = np.array([0.95, 0.85, 0.75]), 4
    truth = (weights * share * accuracy).sum() / (weights * share).sum()

    def draw(generator, n):
        kind = generator.choice(3, size=n, p=share)
        target = generator.integers(0, size, n)
        right = generator.random(n) < accuracy[kind]
        other = (target + generator.integers(1, size, n)) % size
        return class_ledger(target, np.where(right, target, other), size, weight=weights[kind])

    joint = joint_of(np.full(size, 1 / size), np.full(size, truth))
    truths = {"accuracy": truth, "f1_macro": truths_of(joint)["f1_macro"]}
    return Population(name=name, says=says, draw=draw, truths=truths)


def sliced(name, says, accuracies) -> Population:
    """Slices of equal size with these accuracies, of which the gap is asked."""
    accuracies = np.asarray(accuracies)

    def draw(generator, n):
        part = np.arange(n) % len(accuracies)
        target = generator.integers(0, 2, n)
        right = generator.random(n) < accuracies[part]
        return class_ledger(target, np.where(right, target, 1 - target), 2, **{"slice:part": part})

    gap = float(np.ptp(accuracies))
    return Population(name=name, says=says, draw=draw, truths={"accuracy": gap}, kind="gap")


def paired(name, says) -> Population:
    """A candidate that decides anew on a tenth of the samples, and a little worse."""
    prior, rest = np.full(CLASSES, 1 / CLASSES), 0.1
    before = joint_of(prior, np.full(CLASSES, 0.9))
    anew = joint_of(prior, np.full(CLASSES, 0.75))
    after = (1 - rest) * before + rest * anew

    def draw(generator, n):
        target, old = draw_cells(generator, n, before)
        right = generator.random(n) < 0.75
        other = (target + generator.integers(1, CLASSES, n)) % CLASSES
        new = np.where(generator.random(n) < rest, np.where(right, target, other), old)
        return class_ledger(target, new, CLASSES), class_ledger(target, old, CLASSES)

    now, then = truths_of(after), truths_of(before)
    truths = {m: now[m] - then[m] for m in ("accuracy", "f1_macro")}
    return Population(name=name, says=says, draw=draw, truths=truths, kind="difference")
