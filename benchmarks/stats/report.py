"""The results as Markdown."""

from collections.abc import Iterable

from tabulate import tabulate

from benchmarks.stats.coverage import OURS
from benchmarks.stats.reasons import reason_of
from model_eval.types import DecideOn

INSIDE = (0.94, 0.96)
MOST_WRONG = 0.05


def markdown(result: dict) -> str:
    """Whole, of the parts that there are."""
    parts = [
        "# Statistics, measured\n",
        "Written by `make bench-statistics`; `benchmarks/README.md` says how to read it.\n",
    ]
    for name, render in {
        "coverage": _coverage,
        "power": _power,
        "verdicts": _verdicts,
        "speed": _speed,
    }.items():
        if name in result:
            part = result[name]
            versions = ", ".join(f"{k} {v}" for k, v in part["versions"].items())
            how = (
                ""
                if part["factor"] == 1
                else f" Quick: {part['factor']:g} times the held-out sets."
            )
            parts += [*render(part["found"]), f"<sub>{versions}.{how}</sub>\n"]
    return "\n".join(parts)


def place(row: dict) -> str:
    """`inside` of 94 to 96 %, `open` where simulation cannot tell, `below` or `above`."""
    covered, error = row["coverage"], 2 * row["standard_error"]
    low, high = INSIDE
    if low <= covered <= high:
        return "inside"
    if low - error <= covered <= high + error:
        return "open"
    return "below" if covered < low else "above"


def _coverage(rows: list[dict]) -> Iterable[str]:
    yield "## Coverage of 95 % intervals\n"
    yield (
        "A cell: coverage in %, and in how many % the interval was above the truth (promises too much) / "
        "below it. **Bold**: outside 94 to 96 by more than two standard errors of the simulation. "
        "`?`: outside, and nearer than that. `∅`: share of sets that got no interval.\n"
    )
    sizes = sorted({row["n"] for row in rows})
    keys = dict.fromkeys(
        (row["population"], row["kind"], row["metric"], row["method"]) for row in rows
    )
    cells = {
        (row["population"], row["metric"], row["method"], row["n"]): _cell(row) for row in rows
    }
    table = [
        [population, _what(kind, metric), method]
        + [cells.get((population, metric, method, n), "") for n in sizes]
        for population, kind, metric, method in keys
    ]
    yield _table(table, ["population", "of", "method", *(f"n = {n:,}" for n in sizes)])
    yield _errors(rows)
    ours = [row for row in rows if row["method"] == OURS and row.get("coverage") is not None]
    judged = [place(row) for row in ours]
    yield (
        f"Of {len(ours)} rows of model-eval {judged.count('inside')} are inside 94 to 96 %, "
        f"{judged.count('open')} are open, {judged.count('below')} are below and "
        f"{judged.count('above')} above.\n"
    )
    outside = [
        [row["population"], _what(row["kind"], row["metric"]), row["n"], _cell(row), reason_of(row)]
        for row in ours
        if place(row) in {"below", "above"}
    ]
    yield "### Where it is not 94 to 96 %, and why\n"
    yield _table(outside, ["population", "of", "n", "coverage", "why"])


def _what(kind: str, metric: str) -> str:
    return metric if kind == "value" else f"{kind} of {metric}"


def _cell(row: dict) -> str:
    if row.get("coverage") is None:
        return "∅ 100 %"
    covered = f"{row['coverage']:.1%}".rstrip("%")
    where = place(row)
    text = f"**{covered}**" if where in {"below", "above"} else covered
    text += "?" if where == "open" else ""
    text += f" ({row['promises_too_much']:.1%} / {row['promises_too_little']:.1%})".replace("%", "")
    if row["missing"]:
        text += f" ∅ {row['missing'] / (row['missing'] + row['sets']):.0%}"
    return text


def _errors(rows: list[dict]) -> str:
    errors: dict[int, set[float]] = {}
    for row in rows:
        if row["method"] == OURS and row.get("standard_error"):
            errors.setdefault(row["n"], set()).add(row["standard_error"])
    shown = "; ".join(f"n = {n:,}: {min(e):.1%} to {max(e):.1%}" for n, e in sorted(errors.items()))
    return (
        "Standard error of a simulated coverage, of model-eval's rows: "
        f"{shown}. `independent samples` and `pairs` are added up over all outcomes, and have none.\n"
    )


def _power(rows: list[dict]) -> Iterable[str]:
    yield "## Power: what is found in four of five held-out sets\n"
    yield (
        "Differences of accuracy. Paired: the drop that `{max_drop: 0, decide_on: interval}` fails, by "
        "the share of samples on which the two models disagree (a drop cannot be larger than that: —). "
        "Unpaired: two sets of n, accuracy 0.9. Margin: how far from `min: 0.9` the truth must be for "
        "`decide_on: interval` to pass or fail it.\n"
    )
    shares = list(rows[0]["drop_paired"])
    yield _table(
        [
            [
                f"{row['n']:,}",
                *(_or_dash(row["drop_paired"][share]) for share in shares),
                _or_dash(row["drop_unpaired"]),
                _or_dash(row["above_threshold_to_pass"]),
                _or_dash(row["below_threshold_to_fail"]),
            ]
            for row in rows
        ],
        [
            "n",
            *(f"paired, {share} disagree" for share in shares),
            "unpaired",
            "margin to pass",
            "margin to fail",
        ],
    )


def _or_dash(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _verdicts(rows: list[dict]) -> Iterable[str]:
    yield "## Verdicts: one checkpoint, many held-out sets of 1,000\n"
    yield (
        "In % of the held-out sets: pass / fail / undecided. **Bold**: more than 5 % are wrong, passed where "
        "the truth must fail or failed where it must pass. `lower_bound` fails whatever is not proved, on "
        "purpose: its wrong failures are not bold.\n"
    )
    ways = list(dict.fromkeys(row["decide_on"] for row in rows))
    keys = dict.fromkeys(
        (row["case"], row["bound"], row["truth_is"], row["should"]) for row in rows
    )
    cells = {(row["case"], row["truth_is"], row["decide_on"]): _verdict(row) for row in rows}
    yield _table(
        [
            [f"{case}, `{bound}`", place, should, *(cells[case, place, way] for way in ways)]
            for case, bound, place, should in keys
        ],
        ["gate", "truth is", "should", *(f"`{way}`" for way in ways)],
    )
    worst = [
        [
            f"`{way}`",
            *(
                f"{max(row[kind] for row in rows if row['decide_on'] == way):.1%}"
                for kind in ("wrong_pass", "wrong_fail")
            ),
        ]
        for way in ways
    ]
    yield _table(worst, ["decide_on", "most wrong passes of a row", "most wrong failures of a row"])


def _verdict(row: dict) -> str:
    text = " / ".join(f"{100 * row[status]:.1f}" for status in ("pass", "fail", "undecided"))
    meant = row["decide_on"] == DecideOn.LOWER_BOUND
    wrong = row["wrong_pass"] + (0 if meant else row["wrong_fail"])
    return f"**{text}**" if wrong > MOST_WRONG else text


def _speed(found: dict) -> Iterable[str]:
    yield f"## Speed on {found['rows']:,} rows of ten classes, {found['threads']} threads\n"
    timed = {
        "the four together": found["four"],
        **found["each"],
        "accuracy, f1_macro, log_loss": found["sufficient"],
        "the same of ten times the rows": found["sufficient_of_ten_times_the_rows"],
    }
    yield _table(
        [[name, *row.values()] for name, row in timed.items()],
        ["metrics", "values, s", "values and intervals, s", "processor, s, all threads"],
    )
    ratio = found["ten_times_the_rows_take"]
    yield (
        f"Ten times the rows take {ratio['with_intervals']} times as long ({ratio['processor']} times the "
        f"processor's time), values included. Load of the machine after the first timings: {found['load']}.\n"
    )
    yield "### Agreement with plain resampling of the rows\n"
    yield _table(
        [
            [
                row["metric"],
                f"{row['rows']:,}",
                row["replicates"],
                row["method"],
                "{:.5f} to {:.5f}".format(*row["ours"]),
                "{:.5f} to {:.5f}".format(*row["resampled"]),
                row["width_ratio"],
                row["width_by_spread"],
                row["ends_differ_by"],
            ]
            for row in found["agreement"]
        ],
        [
            "metric",
            "rows",
            "replicates",
            "method",
            "model-eval",
            "percentiles of the replicates",
            "ratio of widths",
            "width / 3.92 sd",
            "largest difference of an end, in widths",
        ],
    )


def _table(rows: list[list], headers: list[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True) + "\n"
