"""The results as Markdown."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tabulate import tabulate

Row = Mapping[str, Any]

_MLP = {
    "classification": "classification: accuracy, macro precision, recall and F1",
    "auroc": "the same with one-vs-rest macro AUROC",
    "regression": "regression: MSE, RMSE, MAE, R²",
}


def markdown(found: Mapping[str, Row]) -> str:
    """Whole, of the cases that there are."""
    lines = [
        "# Speed, measured\n",
        "Written by `make bench`; `benchmarks/README.md` says how to read it. **Bold** is model-eval.\n",
    ]
    for case, render in _RENDER.items():
        if case in found:
            lines += [*render(found[case]["found"]), _footnote(found[case])]
    return "\n".join(lines)


def _footnote(one: Row) -> str:
    machine = one["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    quick = " **Quick: too small to mean anything.**" if one["quick"] else ""
    return (
        f"<sub>{one['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, load before {machine['load_before']}; {versions}.{quick}</sub>\n"
    )


def _mlp(parts: Sequence[Row]) -> Iterator[str]:
    yield "## An MLP: ratios to the forward passes alone\n"
    yield (
        "MLP 64→128→10 (regression: 1). The floor is the forward passes alone, over batches already cut "
        "and in memory; it is measured again before each contender. Medians of the ratios, in brackets "
        "the smallest and largest. *Difference*: the largest one of a metric from scikit-learn's.\n"
    )
    for part in parts:
        yield (
            f"### {_MLP[part['part']]}; {part['rows']:,} rows, batch {part['batch']}, "
            f"{_threads(part)}, {_rounds(part)}\n"
        )
        yield _table(
            part["contenders"],
            {
                "": _name,
                "ratio": _ratio,
                "s": lambda one: f"{one['seconds']:.3f}",
                "difference": lambda one: _small(one["difference"]),
            },
        )
        yield from _skipped(part["skipped"])


def _memory(parts: Sequence[Row]) -> Iterator[str]:
    yield "## Memory of ledger and metrics\n"
    yield (
        "The peak beyond model and inputs, of a process of its own, at n and at 2n rows; and what a "
        "further million rows take, beside the bytes of the ledger itself.\n"
    )
    yield _table(
        parts,
        {
            "": lambda one: one["part"],
            "rows": lambda one: " / ".join(f"{rows:,}" for rows in one["rows"]),
            "peak, MiB": lambda one: " / ".join(map(str, one["peak_mib"])),
            "ledger, MiB": lambda one: " / ".join(map(str, one["ledger_mib"])),
            "peak, MiB a million more": lambda one: one["peak_mib_per_million"],
            "ledger, MiB a million more": lambda one: one["ledger_mib_per_million"],
        },
    )


def _resnet(parts: Sequence[Row]) -> Iterator[str]:
    yield "## A ResNet-18: how far the floor can be lowered\n"
    yield (
        "Ratios to the eager forward passes at batch 256, at which every peer runs; *own*: to the forward "
        "passes at the same batch size in the same process. *Memory kept*: in a process as `model-eval run` "
        "starts it. *Difference*: the largest one of a log-probability from those of "
        "the eager passes at batch 256, and how many predictions changed. *First call*: what happens once, "
        "on one batch of 256, compilation included.\n"
    )
    for part in parts:
        yield (f"### {part['rows']:,} images of 3x32x32, {_threads(part)}, {_rounds(part)}\n")
        yield _table(
            part["contenders"],
            {
                "": _name,
                "ratio": _ratio,
                "own": lambda one: "" if one["own_ratio"] is None else f"{one['own_ratio']:.3f}",
                "s": lambda one: f"{one['seconds']:.2f}",
                "first call, s": lambda one: f"{one['warm_up']:.2f}",
                "difference": lambda one: _small(one.get("difference")),
                "changed": lambda one: one.get("changed_predictions", ""),
            },
        )
        yield from _skipped(part["skipped"])
        again = part["store"]
        if "skipped" in again:
            yield f"A second run from the store: skipped, {again['skipped']}.\n"
        else:
            yield (
                f"A whole `model-eval run` of it took {again['first_seconds']} s, and the same again from "
                f"the store {again['second_seconds']} s: {again['ratio']} of the first.\n"
            )


def _auroc(parts: Sequence[Row]) -> Iterator[str]:
    yield "## The area under the ROC curve of very many scores\n"
    yield (
        "Binormal log-odds in float32, some of them level. Memory: the peak beyond scores and targets, in "
        "a process of its own. Error: from the area in whole numbers. torchmetrics is given probabilities "
        "in float32, of which more are level; its error from the area of those is in brackets.\n"
    )
    for part in parts:
        yield f"### {part['rows']:,} scores, {_threads(part)}, {_rounds(part)}\n"
        yield _table(
            part["contenders"],
            {
                "": _name,
                "s": lambda one: f"{one['seconds']:.3f}",
                "MiB": lambda one: f"{one['extra_mib']:.0f}",
                "error": lambda one: (
                    _error(one["error"])
                    + (
                        f" ({_error(one['error_of_probabilities'])})"
                        if one["error_of_probabilities"] is not None
                        else ""
                    )
                ),
            },
        )


def _intervals(parts: Sequence[Row]) -> Iterator[str]:
    yield "## Intervals\n"
    yield (
        "Seconds from the bare rows to a 95 % interval, at equal numbers of replicates where there are any. "
        "*replicates alone*: percentiles of as many replicates, where a run would take a closed form or "
        "correct them. *Scaled*: timed at so few replicates, and multiplied.\n"
    )
    for part in parts:
        yield (
            f"### {part['part']}, of {part['needs']}; {part['rows']:,} rows, "
            f"{part['replicates']:,} replicates, {_threads(part)}, {_rounds(part)}\n"
        )
        yield _table(
            part["contenders"],
            {
                "": _name,
                "s": lambda one: f"{one['seconds']:.4g}",
                "times model-eval": lambda one: _times(one["times_ours"]),
                "low": lambda one: f"{one['low']:.5f}",
                "high": lambda one: f"{one['high']:.5f}",
                "method": lambda one: one["method"],
                "scaled": lambda one: one["scaled_from"] or "",
            },
        )


def _start(parts: Sequence[Row]) -> Iterator[str]:
    yield "## From a cold start to a verdict\n"
    yield (
        "Whole processes with a warm disk, medians. `model-eval run` is that of `examples/digits`, with its "
        "checks and files, in a process and its child.\n"
    )
    for part in parts:
        where = (
            "model-eval and torch in an environment of their own"
            if part["own_environment"]
            else "all in the peers' environment, whose pandas pyarrow imports, too"
        )
        yield f"### {_rounds(part)}; {where}\n"
        yield _table(
            part["contenders"],
            {
                "": _name,
                "s": lambda one: f"{one['seconds']:.2f}",
                "beyond `import torch`": lambda one: f"{one['beyond_torch']:+.2f}",
            },
        )
        for command, imports in part["imports"].items():
            yield (
                f"Imports of `model-eval {command}`: {imports['modules']:,} modules, "
                f"{imports['milliseconds']:,} ms, {imports['of_torch']:,} ms of which are torch's own "
                "(`-X importtime`, which itself takes time). The dearest others:\n"
            )
            yield _table(
                imports["dearest_but_torch"],
                {
                    "module": lambda one: f"`{one['module']}`",
                    "its own, ms": lambda one: one["own_ms"],
                },
            )


def _accelerator(parts: Sequence[Row]) -> Iterator[str]:
    yield "## On an accelerator\n"
    yield (
        "Ratios to the same model's forward passes at the same precision (bf16: autocast) over inputs that "
        "lie on the device. All others begin with inputs in the host's memory. *Busy*: the share of time in "
        "which the device computed, as its driver tells. *Difference*: the largest one of a log-probability "
        "from those of the eager passes in float32, and how many predictions changed.\n"
    )
    for part in parts:
        shape = "x".join(map(str, part["shape"]))
        yield (
            f"### {part['part']}, {part['precision']}; {part['rows']:,} images of {shape}, "
            f"batch {part['batch']}, {part['device']}, {_rounds(part)}\n"
        )
        yield _table(
            part["contenders"],
            {
                "": _name,
                "ratio": _ratio,
                "s": lambda one: f"{one['seconds']:.3f}",
                "busy": lambda one: "" if one["busy"] is None else f"{one['busy']:.0%}",
                "difference": lambda one: _small(one.get("difference")),
                "changed": lambda one: one.get("changed_predictions", ""),
            },
        )
        yield from _skipped(part["skipped"])


_RENDER: Mapping[str, Callable[[Sequence[Row]], Iterator[str]]] = {
    "mlp": _mlp,
    "memory": _memory,
    "resnet": _resnet,
    "auroc": _auroc,
    "intervals": _intervals,
    "start": _start,
    "accelerator": _accelerator,
}


def _skipped(skipped: Iterable[Row]) -> Iterator[str]:
    if listed := [f"{one['name']} ({one['why']})" for one in skipped]:
        yield f"Skipped: {'; '.join(listed)}.\n"


def _name(one: Row) -> str:
    if one["kind"] != "ours":
        return one["name"]
    # Where the engine was to find out, what it found.
    values = one.get("values", {})
    size = values.get("batch_size") if "batch auto" in one["name"] else None
    found = [] if size is None else [f"{size:,.0f}"]
    if "compiled" in values:
        found.append("compiled" if values["compiled"] else "not compiled")
    took = f" ({', '.join(found)})" if found else ""
    return f"**{one['name']}**{took}"


def _ratio(one: Row) -> str:
    low, high = one["ratios"]
    if one["ratio"] == low == high:
        return f"{one['ratio']:.2f}"
    return f"{one['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _threads(part: Row) -> str:
    return "1 thread" if part["threads"] == 1 else f"{part['threads']} threads"


def _rounds(part: Row) -> str:
    return "1 round" if part["runs"] == 1 else f"{part['runs']} rounds"


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}" if value else "0"


def _times(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _error(value: float) -> str:
    """Below half of a float64's last place at 1 the value is as exact as it can be."""
    return "exact" if value <= 2**-53 else f"{value:.0e}"


def _table(rows: Sequence[Row], columns: Mapping[str, Callable[[Row], Any]]) -> str:
    cells = [[str(cell(row)) for cell in columns.values()] for row in rows]
    return tabulate(cells, list(columns), tablefmt="github", disable_numparse=True) + "\n"
