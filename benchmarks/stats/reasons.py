"""Why coverage is not 94 to 96 %, in words, where it is known."""

_COUNTS = (
    "counts are whole, so that coverage is a saw-tooth in n and truth (Brown, Cai & DasGupta 2001), of which the exact "
    "interval keeps each end at or below 2.5 %"
)
_FEW_DIFFER = "few samples differ, or none, and the wider of two ends is taken, so that neither is wrong more often than it says"
_HEAVY = (
    "squares of heavy tails: a set without the rare large errors looks better than it is, and no resample "
    "of it knows of these. A studentised bootstrap had 93 % in place of 89 % of 30 samples, and 91 % in "
    "place of 89 % of 200 (400 sets): not worth its code"
)
_CLUSTERS = (
    "19 clusters: a few bad ones are missing from many sets, and nothing in these tells. Jeffreys' interval of "
    "the effective sample size (Korn & Graubard 1998) had 90 %, Student's t on log-odds 92 % (3,000 sets)"
)
_GAP = "holds for whichever slices are the best and the worst: conservative on purpose"

_REASONS = {
    ("independent samples", "accuracy"): _COUNTS,
    ("pairs", "accuracy"): _FEW_DIFFER,
    ("paired classes", "accuracy"): _FEW_DIFFER,
    ("ten classes", "recall[c9]"): f"some 20 samples of the class at 200: {_COUNTS}",
    (
        "ten skewed classes",
        "f1_macro",
    ): "a class of 0.4 % is in half of the sets of 200 only, and the mean is over the classes that occur: "
    "from set to set it is of something else",
    (
        "ten skewed classes",
        "balanced_accuracy",
    ): "of its resamples' interval and the classes' own the wider end: that of a class with one sample or none "
    "is wide on purpose",
    (
        "ten skewed classes",
        "recall[c9]",
    ): "one sample of the class in 200, four in 1,000: exact ends, and no interval where there is none",
    (
        "three classes",
        "f1_macro",
    ): "three errors in 30 samples or so; without any, it is the interval of what was not seen",
    ("three classes", "accuracy"): _COUNTS,
    (
        "balanced scores",
        "auroc",
    ): "the levels are widened for few samples, here by more than it takes",
    ("balanced scores", "f1"): "the levels are widened for few samples, here by more than it takes",
    ("t5 errors", "mse"): _HEAVY,
    ("t5 errors", "rmse"): _HEAVY,
    ("t5 errors", "r2"): _HEAVY,
    ("clusters", "accuracy"): _CLUSTERS,
    ("clusters", "f1_macro"): _CLUSTERS,
    ("four slices", "accuracy"): _GAP,
    ("ten equal slices", "accuracy"): f"{_GAP}; the truth, 0, is the lowest that there is",
}


def reason_of(row: dict) -> str:
    """Of a row of the coverage table; says so where nobody has found out."""
    population = row["population"].partition(",")[0]
    return _REASONS.get((population, row["metric"]), "not explained yet")
