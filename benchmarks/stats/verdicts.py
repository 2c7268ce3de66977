"""One checkpoint, many held-out sets: how often is the verdict wrong?

Wrong is a pass where the truth is on the failing side, and a failure where it is not; the threshold
itself passes. A gate on a point is right and wrong by luck near the threshold; one on an interval
says that it is undecided. One on the lower bound asks for a proof, and fails whom it does not get it
from: its failures are wrong by this definition, and are meant.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.stats import classes, ours, populations
from benchmarks.stats.ledgers import class_ledger
from benchmarks.stats.population import ref_of
from model_eval.gates import Evidence, compare, judge
from model_eval.metrics import estimates
from model_eval.slicing import take
from model_eval.stats.difference import Paired, compare_metric
from model_eval.stats.interval import with_interval
from model_eval.types import DecideOn, Gate, GateStatus, Severity, SliceInfo

N = 1_000
SETS = 1_000
PLACES = ("well below", "just below", "at", "just above", "well above")
"""Where the truth is, as seen from the threshold: below is the side that must fail."""

SLICES, SLICE_ROWS = 20, 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Evidence of many sets, and the thresholds that it is held against.

    Attributes:
        truth: of what is held against the threshold.
        steps: the distance of the threshold from the truth at each place.
    """

    name: str
    metric: str
    bound: str
    evidence: list[Evidence]
    truth: float
    steps: tuple[float, float]
    slices: str | None = None


def rows(*, factor: float) -> list[dict]:
    """One for each case, place and `decide_on`."""
    found = [
        row
        for case in _cases(max(50, round(SETS * factor)))
        for place, threshold in _thresholds(case)
        for row in _judged(case, place, threshold)
    ]
    sets = max(50, round(SETS * factor))
    return found + _family(sets) + _gaps(sets)


def _thresholds(case: Case) -> Iterator[tuple[str, float]]:
    near, far = case.steps
    sign = 1 if compare(case.bound, 1.0, 0.0)[0] else -1
    for place, distance in zip(PLACES, (far, near, 0.0, -near, -far), strict=True):
        # Zero first: 0.9 must be at 0.9 exactly.
        yield place, case.truth + sign * distance if distance else case.truth


def _cases(sets: int) -> Iterator[Case]:
    ten, _, _, balanced, *_ = populations.populations()
    yield _single(ten, "accuracy", "min", sets, (0.01, 0.05))
    yield _single(ten, "f1_macro", "min", sets, (0.01, 0.05))
    yield _single(balanced, "log_loss", "max", sets, (0.02, 0.08))
    yield _single(balanced, "auroc", "min", max(50, sets // 4), (0.01, 0.05))
    yield _dropped(sets)


def _single(population, metric, bound, sets, steps) -> Case:
    ref = ref_of(metric)
    generator = np.random.default_rng([7, sets])
    evidence = []
    for number in range(sets):
        sampled = ours.sampled_of(population.draw(generator, N), seed=number)
        (plain,) = estimates(sampled.sample, (ref,))
        evidence.append(Evidence(estimates={("heldout", None, ref): with_interval(plain, sampled)}))
    return Case(
        name=f"{population.name}: {metric}",
        metric=metric,
        bound=bound,
        evidence=evidence,
        truth=float(population.truths[metric]),
        steps=steps,
    )


def _dropped(sets: int) -> Case:
    population = classes.paired("paired", "")
    ref = ref_of("accuracy")
    generator = np.random.default_rng([8, sets])
    evidence = []
    for number in range(sets):
        sides = [ours.sampled_of(one, seed=number) for one in population.draw(generator, N)]
        values = [estimates(side.sample, (ref,))[0] for side in sides]
        paired = Paired(candidate=sides[0], baseline=sides[1], identical=False)
        compared = compare_metric(ref, paired, *values)
        evidence.append(Evidence(estimates={}, comparisons={("heldout", None, ref): compared}))
    return Case(
        name="paired classes: accuracy",
        metric="accuracy",
        bound="max_drop",
        evidence=evidence,
        truth=-float(population.truths["accuracy"]),
        steps=(0.003, 0.02),
    )


def _family(sets: int) -> list[dict]:
    """A bound on each of twenty slices, all as good, or one of them worse."""
    worlds = {
        "all well above": np.full(SLICES, 0.95),
        "all at": np.full(SLICES, 0.85),
        "all just below": np.full(SLICES, 0.83),
        "one just below": np.r_[0.83, np.full(SLICES - 1, 0.95)],
        "one well below": np.r_[0.6, np.full(SLICES - 1, 0.95)],
    }
    found = []
    for index, (place, accuracies) in enumerate(worlds.items()):
        generator = np.random.default_rng([9, index])
        case = Case(
            name="twenty slices of 100: accuracy",
            metric="accuracy",
            bound="min",
            evidence=[_sliced(generator, accuracies) for _ in range(sets)],
            truth=float(accuracies.min()),
            steps=(0, 0),
            slices="part",
        )
        found += _judged(case, place, 0.85)
    return found


def _gaps(sets: int) -> list[dict]:
    """A bound of 0.1 on the gap of ten slices of 100."""
    worlds = {
        "well above": np.full(10, 0.9),
        "just above": np.linspace(0.86, 0.94, 10),
        "at": np.r_[np.full(9, 0.95), 0.85],
        "just below": np.r_[np.full(9, 0.95), 0.83],
        "well below": np.r_[np.full(9, 0.95), 0.7],
    }
    found = []
    for index, (place, accuracies) in enumerate(worlds.items()):
        population = classes.sliced("slices", "", accuracies)
        generator = np.random.default_rng([10, index])
        evidence = [
            Evidence(
                estimates={},
                gaps={
                    ("heldout", "part", gap.metric): gap
                    for gap in ours.gaps(population, population.draw(generator, N), seed=0)
                },
            )
            for _ in range(sets)
        ]
        case = Case(
            name="ten slices of 100: accuracy",
            metric="accuracy",
            bound="max_gap",
            evidence=evidence,
            # 0.95 - 0.85 is not 0.1 in binary.
            truth=round(float(population.truths["accuracy"]), 6),
            steps=(0, 0),
            slices="part",
        )
        found += _judged(case, place, 0.1)
    return found


def _sliced(generator, accuracies) -> Evidence:
    part = np.repeat(np.arange(SLICES), SLICE_ROWS)
    target = generator.integers(0, 2, len(part))
    right = generator.random(len(part)) < accuracies[part]
    ledger = class_ledger(target, np.where(right, target, 1 - target), 2)
    ref = ref_of("accuracy")
    found = {}
    for index in range(SLICES):
        sampled = ours.sampled_of(take(ledger, part == index), seed=0)
        (plain,) = estimates(sampled.sample, (ref,))
        found["heldout", f"part={index}", ref] = with_interval(plain, sampled)
    return Evidence(
        estimates=found,
        slices=tuple(
            SliceInfo(heldout="heldout", family="part", label=f"part={index}", n=SLICE_ROWS)
            for index in range(SLICES)
        ),
    )


def _judged(case: Case, place: str, threshold: float) -> Iterator[dict]:
    good = compare(case.bound, case.truth, threshold)[0]
    for decide_on in DecideOn:
        gate = Gate(
            metric=ref_of(case.metric),
            bound=case.bound,
            threshold=threshold,
            severity=Severity.REQUIRED,
            location=None,
            slices=case.slices,
            decide_on=decide_on,
        )
        count = Counter(judge([gate], evidence)[0].status for evidence in case.evidence)
        sets = len(case.evidence)
        yield {
            "case": case.name,
            "bound": case.bound,
            "truth_is": place,
            "should": "pass" if good else "fail",
            "decide_on": str(decide_on),
            "sets": sets,
            **{str(status): round(count[status] / sets, 4) for status in GateStatus},
            "wrong_pass": 0.0 if good else round(count[GateStatus.PASS] / sets, 4),
            "wrong_fail": round(count[GateStatus.FAIL] / sets, 4) if good else 0.0,
        }
