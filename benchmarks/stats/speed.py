"""What intervals cost on a million rows, and whether they are those of plain row resampling.

    python -m benchmarks.stats.speed --output FILE

Each run starts from the bare ledger, as a run of the product does. Medians; nothing fails because a
machine is slow.
"""

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.stats import scores
from benchmarks.stats.population import ref_of
from model_eval.ledger import Ledger
from model_eval.metrics import Weighted, estimates
from model_eval.stats.interval import Sampled, with_interval

FOUR = ("accuracy", "f1_macro", "auroc", "log_loss")
SUFFICIENT = ("accuracy", "f1_macro", "log_loss")
REPLICATES = 1_000
_CHUNK = 1_000_000
_Z = 1.959963984540054


def measure(*, rows: int, replicates: int, runs: int, say: Callable[[str], None]) -> dict:
    """Seconds for `rows` rows and ten times as many, and the agreement with row resampling."""
    ledger = make(rows)
    found: dict = {
        "rows": rows,
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count(),
        "runs": runs,
        "four": timed(ledger, FOUR, runs),
        "each": {name: timed(ledger, (name,), runs) for name in FOUR},
        "sufficient": timed(ledger, SUFFICIENT, runs),
    }
    say(f"four metrics of {rows} rows: {found['four']}")
    found["load"] = round(os.getloadavg()[0], 1)
    small = make(max(10_000, rows // 10))
    found["agreement"] = [
        *agreement(ledger, SUFFICIENT, replicates),
        *agreement(small, ("auroc",), replicates),
    ]
    say(f"agreement: {found['agreement']}")
    del ledger
    gc.collect()
    ten = make(10 * rows)
    found["sufficient_of_ten_times_the_rows"] = timed(ten, SUFFICIENT, runs)
    large, smaller = found["sufficient_of_ten_times_the_rows"], found["sufficient"]
    found["ten_times_the_rows_take"] = {
        which: round(large[which] / smaller[which], 2) for which in ("with_intervals", "processor")
    }
    return found


def make(rows: int) -> Ledger:
    """`scores.ten_classes`, drawn in pieces."""
    generator = np.random.default_rng(5)
    parts = [
        scores.draw_ten(generator, min(_CHUNK, rows - start)) for start in range(0, rows, _CHUNK)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
    columns["id"] = np.arange(rows)
    # The same numbers, and not twice the memory.
    columns["probability"] = columns["score"]
    return Ledger(task=parts[0].task, columns=columns, classes=parts[0].classes)


def timed(ledger: Ledger, metrics: Sequence[str], runs: int) -> dict[str, float]:
    """Median seconds of the values alone, and of values and intervals.

    Of the latter also the processor's seconds of all threads, which hang less on what else runs there.
    """
    refs = [ref_of(name) for name in metrics]
    alone, both, processor = [], [], []
    for run in range(runs):
        started = time.perf_counter()
        estimates(Weighted(ledger=ledger), refs)
        alone.append(time.perf_counter() - started)
        started, used = time.perf_counter(), time.process_time()
        sampled = Sampled(sample=Weighted(ledger=ledger), seed=run, confidence=0.95)
        found = [with_interval(estimate, sampled) for estimate in estimates(sampled.sample, refs)]
        both.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        if any(estimate.interval is None for estimate in found):
            raise RuntimeError(f"a metric has no interval: {found}")
    return {
        "values": round(statistics.median(alone), 3),
        "with_intervals": round(statistics.median(both), 3),
        "processor": round(statistics.median(processor), 3),
    }


def agreement(ledger: Ledger, metrics: Sequence[str], replicates: int) -> list[dict]:
    """Each interval beside the percentiles of so many resamples of the rows themselves.

    The resampled values are computed here from the rows themselves, not by the product. The ends of
    1,000 replicates have an error themselves, some 3 % of the width: `width_by_spread` compares the
    widths by the standard deviation of the replicates, which has half of that.
    """
    functions = _plain_metrics(ledger)
    generator = np.random.default_rng(6)
    values = np.empty((replicates, len(metrics)))
    for number in range(replicates):
        drawn = generator.integers(0, len(ledger), len(ledger))
        values[number] = [functions[name](drawn) for name in metrics]
    sampled = Sampled(sample=Weighted(ledger=ledger), seed=0, confidence=0.95)
    found = []
    for name, column in zip(metrics, values.T, strict=True):
        (plain,) = estimates(sampled.sample, (ref_of(name),))
        ours = with_interval(plain, sampled).interval
        low, high = np.quantile(column, [0.025, 0.975])
        found.append(
            {
                "metric": name,
                "rows": len(ledger),
                "replicates": replicates,
                "method": ours.method,
                "ours": [ours.low, ours.high],
                "resampled": [float(low), float(high)],
                "width_ratio": round(float((ours.high - ours.low) / (high - low)), 3),
                "width_by_spread": round(
                    float((ours.high - ours.low) / (2 * _Z * column.std(ddof=1))), 3
                ),
                "ends_differ_by": round(
                    float(max(abs(ours.low - low), abs(ours.high - high)) / (high - low)), 3
                ),
            }
        )
    return found


def _plain_metrics(ledger: Ledger) -> dict[str, Callable]:
    """Of row numbers drawn with replacement."""
    size = len(ledger.classes)
    cell = (ledger["target"] * size + ledger["prediction"]).astype(np.int16)
    loss, target = ledger["log_loss"], ledger["target"]
    orders: list = []

    def matrix(drawn):
        return np.bincount(cell[drawn], minlength=size * size).reshape(size, size)

    def accuracy(drawn):
        return np.trace(matrix(drawn)) / len(drawn)

    def f1_macro(drawn):
        counts = matrix(drawn)
        return np.mean(2 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1)))

    def auroc(drawn):
        if not orders:
            orders.extend(np.argsort(ledger["score"][:, index]) for index in range(size))
        times = np.bincount(drawn, minlength=len(ledger))
        areas = []
        for index, order in enumerate(orders):
            weight = times[order]
            own = target[order] == index
            positive, negative = weight * own, weight * ~own
            # Continuous scores: no two rows are level.
            areas.append((positive * np.cumsum(negative)).sum() / positive.sum() / negative.sum())
        return np.mean(areas)

    return {
        "accuracy": accuracy,
        "f1_macro": f1_macro,
        "auroc": auroc,
        "log_loss": lambda drawn: loss[drawn].mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    found = measure(
        rows=args.rows,
        replicates=args.replicates,
        runs=args.runs,
        say=lambda text: print(text, flush=True),
    )
    args.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
