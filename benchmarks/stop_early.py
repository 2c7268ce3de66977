"""What `run.stop_early` promises and saves: wrong verdicts of whole runs, and samples needed.

    python benchmarks/stop_early.py --output benchmarks/results/stop_early.json

Held-out sets are drawn from populations at given distances from a gate's threshold. A run looks after
every 1 % of the samples, at least 256 samples, and ends as soon as its gates are decided,
not before 500 samples; the last look is at the whole set. Ends of intervals are not solved for: a threshold is outside of a
sequence exactly where the stake against it has reached 1/level (`stats.sequence`).

A wrong pass is a pass where the truth is on the failing side of the threshold; a wrong fail is a fail
where it is not. At the threshold itself passes are counted as wrong passes also: the truth may be a hair
below it.
"""

import argparse
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import log, sqrt
from pathlib import Path

import numpy as np

from model_eval.early_stop import LEAST, rows_between_looks
from model_eval.stats.early import ON_LOOKS, Early
from model_eval.stats.sequence import binned_tally, log_stake
from model_eval.stats.shares import share_difference, share_interval
from model_eval.types import Gate, MetricRef, Severity

CONFIDENCE = 0.95
SIZES = (1_000, 10_000, 100_000)
POINTS = (-0.05, -0.03, -0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02, 0.03)
ERRORS = (2, 3, 4, 6, 10)
PASS, FAIL, UNDECIDED = 1, -1, 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of many runs: the verdict, how many samples it took, and what the whole set alone says."""

    verdict: np.ndarray
    samples: np.ndarray
    whole: np.ndarray


def sizes_of(n: int) -> np.ndarray:
    """How many samples come between two looks."""
    step = rows_between_looks(n)
    return np.diff(np.append(np.arange(0, n, step), n))


def decided(counts, scaled, threshold, *, n, below, above) -> tuple[np.ndarray, np.ndarray]:
    """At which looks but the last a `min` is passed, and failed; each (sets, looks)."""
    before = counts[:, :-1]
    low = log_stake(scaled, before, threshold, planned=n, level=below * ON_LOOKS)
    high = log_stake(1 - scaled, before, 1 - threshold, planned=n, level=above * ON_LOOKS)
    return low >= log(1 / (below * ON_LOOKS)), high >= log(1 / (above * ON_LOOKS))


def ended(passed: np.ndarray, failed: np.ndarray, last: np.ndarray, whole, seen) -> Outcome:
    """The first look at which there is a verdict, the last one included."""
    verdicts = np.where(passed, PASS, np.where(failed, FAIL, UNDECIDED))
    verdicts[:, seen[:-1] < LEAST] = UNDECIDED
    verdicts = np.concatenate([verdicts, last[:, None]], axis=1)
    there = verdicts != UNDECIDED
    first = np.where(there.any(axis=1), there.argmax(axis=1), verdicts.shape[1] - 1)
    return Outcome(verdict=verdicts[np.arange(len(first)), first], samples=seen[first], whole=whole)


def of_interval(low, high, threshold) -> int:
    return PASS if low >= threshold else FAIL if high < threshold else UNDECIDED


@cache
def of_share(successes: int, n: int, threshold: float, below: float, above: float) -> int:
    low = share_interval(successes, n, confidence=1 - 2 * below).low
    high = share_interval(successes, n, confidence=1 - 2 * above).high
    return of_interval(low, high, threshold)


@cache
def of_difference(gained: int, lost: int, n: int, threshold: float, level: float) -> int:
    found = share_difference(gained, lost, n, confidence=1 - 2 * level)
    return of_interval(found.low, found.high, threshold)


def shares(rng, n: int, truth: float, threshold: float, sets: int, gates: int = 1) -> Outcome:
    """Runs with as many independent gates `min: threshold` on shares, the truth of all the same."""
    steps = sizes_of(n)
    seen = steps.cumsum()
    gate = Gate(
        metric=MetricRef(name="accuracy"),
        bound="min",
        threshold=threshold,
        severity=Severity.REQUIRED,
        location=None,
    )
    level = Early(gates=(gate,) * gates, planned=n, confidence=CONFIDENCE).levels(gate.metric)
    tail, left = (1 - CONFIDENCE) / 2, 1 - ON_LOOKS
    passed, failed, last, whole = [], [], [], []
    for _ in range(gates):
        right = rng.binomial(steps, truth, (sets, len(steps))).cumsum(axis=1)
        counts = np.stack([seen - right, right], axis=2).astype(float)
        one = decided(
            counts, np.array([0.0, 1.0]), threshold, n=n, below=level.below, above=level.above
        )
        passed.append(one[0])
        failed.append(one[1])
        all_right = right[:, -1].tolist()
        at_end = (level.below * left, level.above * left)
        last.append([of_share(k, n, threshold, *at_end) for k in all_right])
        whole.append([of_share(k, n, threshold, tail, tail) for k in all_right])
    return ended(
        np.all(passed, axis=0), np.any(failed, axis=0), together(last), together(whole), seen
    )


def together(verdicts: list[list[int]]) -> np.ndarray:
    """Of several gates: one fail is a fail, all must pass."""
    stacked = np.array(verdicts)
    failed, passed = (stacked == FAIL).any(axis=0), (stacked == PASS).all(axis=0)
    return np.where(failed, FAIL, np.where(passed, PASS, UNDECIDED))


def drops(rng, n: int, drop: float, most: float, moved: float, sets: int) -> Outcome:
    """Runs with one gate `max_drop: most`, where the two models differ on a share `moved`."""
    steps = sizes_of(n)
    seen = steps.cumsum()
    gained, lost = (moved - drop) / 2, (moved + drop) / 2
    drawn = rng.multinomial(
        np.broadcast_to(steps, (sets, len(steps))), [lost, 1 - moved, gained]
    ).cumsum(axis=1)
    tail, left = (1 - CONFIDENCE) / 2, 1 - ON_LOOKS
    # A drop of at most `most` is a gain of at least -most.
    one = decided(
        drawn.astype(float), np.array([0.0, 0.5, 1.0]), (1 - most) / 2, n=n, below=tail, above=tail
    )
    ends = [(int(row[2]), int(row[0])) for row in drawn[:, -1]]
    last, whole = (
        np.array([of_difference(*end, n, -most, level) for end in ends])
        for level in (tail * left, tail)
    )
    return ended(*one, last, whole, seen)


def briers(rng, n: int, truth: float, threshold: float, sets: int) -> Outcome:
    """Runs with one gate `max: threshold` on a mean of rows from 0 to 1, drawn from Beta(a, 4)."""
    steps = sizes_of(n)
    seen = steps.cumsum()
    shape = 4 * truth / (1 - truth)
    tail = (1 - CONFIDENCE) / 2
    found = []
    for _ in range(sets):
        values = rng.beta(shape, 4, n)
        parts = [binned_tally(part, low=0, high=1) for part in np.split(values, seen[:-1])]
        counts = np.cumsum([part.counts for part in parts], axis=0)[None, :-1]
        # What is a `max` of x is a `min` of 1 - x.
        stakes = (
            log_stake(1 - parts[0].highs, counts, 1 - threshold, planned=n, level=tail * ON_LOOKS),
            log_stake(parts[0].lows, counts, threshold, planned=n, level=tail * ON_LOOKS),
        )
        one = [stake >= log(1 / (tail * ON_LOOKS)) for stake in stakes]
        error = values.std(ddof=1) / sqrt(n)
        # The product has a bootstrap here; of so many rows it is as good as normal.
        at_end = [
            np.array(
                [of_interval(-values.mean() - z * error, -values.mean() + z * error, -threshold)]
            )
            for z in (2.2414, 1.96)
        ]
        found.append(ended(one[0], one[1], *at_end, seen))
    return Outcome(
        verdict=np.concatenate([one.verdict for one in found]),
        samples=np.concatenate([one.samples for one in found]),
        whole=np.concatenate([one.whole for one in found]),
    )


def row(outcome: Outcome, *, n: int, distance: float, **known) -> dict:
    """A line of the results; `distance` is that of the truth from the threshold on the good side."""
    passes, fails = outcome.verdict == PASS, outcome.verdict == FAIL
    share = outcome.samples / n
    return {
        **known,
        "n": n,
        "distance": round(distance, 6),
        "sets": len(share),
        "passed": float(passes.mean()),
        "failed": float(fails.mean()),
        "wrong_passes": float(passes.mean()) if distance <= 0 else 0.0,
        "wrong_fails": float(fails.mean()) if distance >= 0 else 0.0,
        "ended_early": float((share < 1).mean()),
        "median_share": float(np.median(share)),
        "share_90": float(np.quantile(share, 0.9)),
        "whole_decided": float((outcome.whole != UNDECIDED).mean()),
        "decided": float((passes | fails).mean()),
    }


def rows(sets: int) -> Iterator[dict]:
    """All of them; each population has a seed of its own."""
    seed = 0
    for n in SIZES:
        for threshold in (0.95, 0.8):
            in_points = [("points", d) for d in POINTS]
            error = sqrt(threshold * (1 - threshold) / n)
            in_errors = [("errors", sign * e * error) for e in ERRORS for sign in (-1, 1)]
            for unit, distance in in_points + in_errors:
                seed += 1
                if not 0 < threshold + distance <= 1:
                    continue
                rng = np.random.default_rng(seed)
                found = shares(rng, n, threshold + distance, threshold, sets)
                yield row(
                    found,
                    n=n,
                    distance=distance,
                    gate=f"accuracy min {threshold}",
                    unit=unit,
                    errors=round(distance / error, 3),
                )
        for distance in (-0.01, -0.005, 0.0, 0.01, 0.02):
            seed += 1
            found = shares(np.random.default_rng(seed), n, 0.95 + distance, 0.95, sets, gates=3)
            yield row(found, n=n, distance=distance, gate="three shares min 0.95", unit="points")
        for distance in (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02):
            seed += 1
            drop = 0.01 - distance
            rng = np.random.default_rng(seed)
            found = drops(rng, n, drop, 0.01, max(0.04, abs(drop)), sets)
            yield row(found, n=n, distance=distance, gate="accuracy max_drop 0.01", unit="points")
        for most in (
            0.005,
            0.01,
            0.02,
        ):  # where the worse model gains nothing, and is as bad as allowed
            seed += 1
            found = drops(np.random.default_rng(seed), n, most, most, most, sets)
            gate = f"accuracy max_drop {most}, losses alone"
            yield row(found, n=n, distance=0.0, gate=gate, unit="points")
    for n in SIZES[:2]:
        for distance in (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02):
            seed += 1
            rng = np.random.default_rng(seed)
            found = briers(rng, n, 0.1 - distance, 0.1, max(20, sets // 4))
            yield row(
                found, n=n, distance=distance, gate="mean of Beta rows max 0.1", unit="points"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=4_000, help="of each population")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    found = []
    for one in rows(args.sets):
        found.append(one)
        print(
            f"{one['gate']:26} n={one['n']:<7} {one['distance']:+.5f}  pass {one['passed']:.4f}  "
            f"fail {one['failed']:.4f}  share {one['median_share']:.3f} / {one['share_90']:.3f}  "
            f"decided {one['decided']:.3f} (whole set {one['whole_decided']:.3f})",
            flush=True,
        )
    worst = max(max(one["wrong_passes"], one["wrong_fails"]) for one in found)
    print(f"the most wrong verdicts of one kind: {worst:.4f}, at most {(1 - CONFIDENCE) / 2} said")
    if args.output is not None:
        results = {
            "confidence": CONFIDENCE,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "most_wrong": worst,
            "rows": found,
        }
        args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
