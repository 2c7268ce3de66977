"""Sections of the summary that show what a verdict rests on, whole."""

from dataclasses import replace

from builders.reports import ACCURACY, HERE, complete, estimate, gate, report
from model_eval.report import evidence, from_json, render, to_json
from model_eval.types import (
    BaselineInfo,
    Comparison,
    DecideOn,
    Flips,
    Gap,
    HeldOutInfo,
    Interval,
    LookupInfo,
    PowerLine,
    ReliabilityBin,
    SetInfo,
    SliceInfo,
)


def interval(low, high):
    return Interval(low=low, high=high, confidence=0.95, method="clopper-pearson")


WHOLE = replace(estimate(0.95), interval=interval(0.9, 0.98))
LEFT = replace(estimate(0.9, n=40), slice="hand=left", interval=interval(0.78, 0.965))
RIGHT = replace(estimate(1.0, n=60), slice="hand=right", no_interval="all samples are alike")
SHIFTED = replace(estimate(0.85, n=50), heldout="shifted", interval=interval(0.73, 0.93))
COMPARED = Comparison(
    metric=ACCURACY, heldout="heldout", slice=None, n=100, candidate=0.95, baseline=0.97,
    undefined=None, difference=-0.02, interval=interval(-0.06, 0.015), relative=-0.0206,
    relative_interval=interval(-0.062, 0.0155), no_interval=None,
)  # fmt: skip
GAP = Gap(
    metric=ACCURACY, heldout="heldout", family="hand", n=100, value=0.1, undefined=None,
    highest="hand=right", lowest="hand=left", interval=interval(0.02, 0.2), no_interval=None,
)  # fmt: skip
FLIPS = Flips(gained=1, lost=3, p_value=0.625, gained_ids=("a|b",), lost_ids=("7", "8", "9"))
BASELINE = BaselineInfo(
    source="main.pt", kind="checkpoint", files=(), refused=None, identical=False, flips=FLIPS
)


def rich(**changes):
    interval_gate = replace(gate(), decide_on=DecideOn.INTERVAL)
    return report(
        [WHOLE, LEFT, RIGHT, SHIFTED],
        [interval_gate],
        slices=(
            SliceInfo(heldout="heldout", family="hand", label="hand=left", n=40),
            SliceInfo(heldout="heldout", family="hand", label="hand=right", n=60),
        ),
        gaps=(GAP,),
        comparisons=(COMPARED,),
        baseline=BASELINE,
        more_heldout=(
            SetInfo(
                name="shifted",
                heldout=HeldOutInfo(
                    source="shifted.csv",
                    format="csv",
                    sha256="e" * 64,
                    pinned=False,
                    disjoint_from=(),
                ),
                completion=complete(50),
            ),
        ),
        power=(PowerLine(gate="accuracy", n=100, decidable=True, text="it can", location=HERE),),
        lookups=LookupInfo(path="looks.jsonl", looks=2, checkpoints=1),
        calibration=(ReliabilityBin(low=0.9, high=1.0, n=100, confidence=0.96, accuracy=0.95),),
        **changes,
    )


def test_a_rich_report_is_the_same_after_json():
    found = rich()
    assert from_json(to_json(found)) == found


def test_values_of_whole_sets_have_their_interval():
    assert evidence.estimates(rich()) == (
        "<details><summary>Metrics</summary>\n\n"
        "| Metric               |   Value |   0.95 interval |   Samples |\n"
        "|:---------------------|--------:|----------------:|----------:|\n"
        "| `accuracy`           |    0.95 |     0.9 to 0.98 |       100 |\n"
        "| `accuracy (shifted)` |    0.85 |    0.73 to 0.93 |        50 |\n"
        "\n</details>"
    )


def test_slices_say_why_one_has_no_interval_and_how_far_they_are_apart():
    shown = evidence.slices(rich())
    assert "<summary>Slices (2)</summary>" in shown
    assert (
        "| `hand=left`  | `accuracy` |     0.9 |                 0.78 to 0.965 |        40 |"
        in shown
    )
    assert (
        "| `hand=right` | `accuracy` |       1 | none: `all samples are alike` |        60 |"
        in shown
    )
    assert "| `hand`   | `accuracy` |   0.1 | 0.02 to 0.2 | `hand=left … hand=right` |" in shown


def test_the_baseline_is_shown_with_what_flipped():
    shown = evidence.baseline(rich())
    assert "Against checkpoint `main.pt`." in shown
    at = replace(BASELINE, source="main", kind="git", commit="0123456789abcdef" * 2)
    assert "Against git `main`, which is `0123456789ab`." in evidence.baseline(
        replace(rich(), baseline=at)
    )
    assert (
        "| `accuracy` |   0.95 |       0.97 |        -0.02 | -0.06 to 0.015 |       100 |" in shown
    )
    assert "1 samples are right that were wrong, 3 the other way round" in shown
    assert "(McNemar's exact p = 0.625)." in shown
    assert "Right now: `a|b`." in shown
    assert "Wrong now: `7`, `8`, `9`." in shown


def test_a_refused_baseline_says_what_differs():
    refused = replace(BASELINE, refused="3 ids are `only` here", flips=None)
    found = replace(rich(), baseline=refused, comparisons=())
    assert "Nothing was compared with `main.pt`: `3 ids are 'only' here`." in evidence.baseline(
        found
    )


def test_every_section_is_in_the_summary():
    shown = render(rich())
    for title in ("Baseline", "Slices (2)", "Metrics", "Calibration", "Further held-out sets"):
        assert f"<details><summary>{title}</summary>" in shown
    assert "- `accuracy`: `it can`" in shown
    assert "| 0.9 to 1.0    |       100 |               0.96 |    0.95 |       -0.010 |" in shown
    assert "| `shifted` | `shifted.csv` | `sha256:eeeeeeeeeeee` |  50 of 50 |" in shown
