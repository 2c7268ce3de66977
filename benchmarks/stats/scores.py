"""Populations with scores: truths are integrals over normal scores.

Binary: the score is N(d, 1) for the positive class and N(0, 1) for the other, so that the true
log-odds are d · score - d² / 2 + logit(prior), and AUROC is Φ(d / √2).
"""

import numpy as np
from scipy.integrate import quad
from scipy.special import expit, logit, ndtr
from scipy.stats import norm

from benchmarks.stats.ledgers import binary_ledger, multiclass_ledger
from benchmarks.stats.population import SIZES, SLICE, Population

CLASSES = 10
SHIFT = 2.0
"""How much higher the score of the target is, with ten classes."""

TEN_CLASS_LOSS = 0.9628
"""The log loss of `ten_classes`: the mean of 10⁷ draws, ± 0.0004, 1/30 of the error of 10,000."""


def logits_of(score, d, prior, sharpness=1.0):
    """The model's log-odds; a sharpness above 1 makes it too sure of itself."""
    return sharpness * (d * score - d * d / 2 + logit(prior))


def binary(name, says, *, d, prior, sharpness=1.0, metrics, sizes=SIZES) -> Population:
    """Binormal scores."""

    def draw(generator, n):
        target = (generator.random(n) < prior).astype(np.int64)
        score = generator.normal(size=n) + d * target
        return binary_ledger(target, logits_of(score, d, prior, sharpness))

    truths = binary_truths(d, prior, sharpness)
    return Population(
        name=name,
        says=says,
        draw=draw,
        truths={m: truths[m] for m in metrics},
        sizes=sizes,
        slow="auroc" in metrics,
    )


def binary_truths(d, prior, sharpness=1.0):
    """Metric → true value."""

    def mean(function_of_target_and_logit):
        def of(target, share):
            found, _ = quad(
                lambda s: (
                    norm.pdf(s - d * target)
                    * function_of_target_and_logit(target, logits_of(s, d, prior, sharpness))
                ),
                -12,
                12 + d,
                limit=200,
            )
            return share * found

        return of(1, prior) + of(0, 1 - prior)

    cut = d / 2 - logit(prior) / d
    caught, alarmed = prior * ndtr(d - cut), (1 - prior) * ndtr(-cut)

    def precision(s):
        hits, misses = prior * ndtr(d - s), (1 - prior) * ndtr(-s)
        return hits / (hits + misses)

    return {
        "auroc": ndtr(d / np.sqrt(2)),
        "average_precision": quad(lambda s: norm.pdf(s - d) * precision(s), -12, 12 + d)[0],
        "log_loss": mean(lambda t, z: np.logaddexp(0, -z if t else z)),
        "brier_score": mean(lambda t, z: (expit(z) - t) ** 2),
        "accuracy": caught + (1 - prior) - alarmed,
        "f1": 2 * caught / (prior + caught + alarmed),
    }


def paired_binary(name, says, *, d, before, prior, correlation) -> Population:
    """Two models whose scores' noise is correlated; the differences are of the marginal truths."""

    def draw(generator, n):
        target = (generator.random(n) < prior).astype(np.int64)
        shared, own, other = generator.normal(size=(3, n))
        rest = np.sqrt(1 - correlation)
        new, old = (np.sqrt(correlation) * shared + rest * one for one in (own, other))
        return tuple(
            binary_ledger(target, logits_of(noise + shift * target, shift, prior))
            for noise, shift in ((new, d), (old, before))
        )

    now, then = binary_truths(d, prior), binary_truths(before, prior)
    truths = {m: now[m] - then[m] for m in ("auroc", "log_loss")}
    return Population(name=name, says=says, draw=draw, truths=truths, kind="difference", slow=True)


def ten_classes(name, says) -> Population:
    """Ten scores, of which the target's is higher; macro AUROC is Φ(shift / √2) for each class."""
    truths = {"auroc": ndtr(SHIFT / np.sqrt(2)), "log_loss": TEN_CLASS_LOSS}
    return Population(name=name, says=says, draw=draw_ten, truths=truths, slow=True)


def draw_ten(generator, n):
    """The ledger of `ten_classes`, float32 scores as a model gives them."""
    target = generator.integers(0, CLASSES, n)
    score = generator.standard_normal((n, CLASSES), dtype=np.float32)
    score[np.arange(n), target] += np.float32(SHIFT)
    return multiclass_ledger(target, score, log_loss=_loss(score, target))


def _loss(score, target):
    """-ln softmax(shift · score) of the target, which is the true posterior; float64 (N,)."""
    z = SHIFT * score
    top = z.max(axis=1)
    total = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top
    return (total - z[np.arange(len(z)), target]).astype(np.float64)


BINARY_METRICS = ("auroc", "average_precision", "log_loss", "brier_score", "f1")
SMALL = (SLICE, *SIZES)
