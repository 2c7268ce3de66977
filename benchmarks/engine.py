"""The engine against its floor: the forward passes alone, over batches already in memory.

    make bench

Both run in one process, in turn, after a warm-up; what is quoted is the median of the ratios.
Timings of a shared machine drift, ratios taken side by side do not.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model_eval import metrics
from model_eval.engine import evaluate, make_predict
from model_eval.heldout import Batch, Labels
from model_eval.tasks import Scorer
from model_eval.types import MetricRef, OutputKind, Task

CPU = torch.device("cpu")
METRICS = [MetricRef(name=n) for n in ("accuracy", "precision_macro", "recall_macro", "f1_macro")]


class InMemory:
    """A held-out set as tensors, sliced."""

    def __init__(self, rows: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn((rows, 64), generator=generator)
        self.target = torch.randint(0, 10, (rows,), generator=generator).numpy()
        self.ids = np.arange(rows)

    def batches(self, size: int):
        for start in range(0, len(self.x), size):
            part = slice(start, start + size)
            labels = Labels(ids=self.ids[part], target=self.target[part], cluster=None, slices={})
            yield Batch(args=(self.x[part],), kwargs={}, labels=labels)


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    data = InMemory(args.rows)
    scorer = Scorer(
        task=Task.MULTICLASS, kind=OutputKind.LOGITS, threshold=None, classes=None, outputs=()
    )
    predict = make_predict(
        model, device=CPU, precision="fp32", output_field=None, transform=None, postprocess=None
    )
    slices = [batch.args[0] for batch in data.batches(args.batch_size)]

    def floor() -> None:
        with torch.inference_mode():
            for x in slices:
                model(x)

    def ledger_only() -> object:
        return evaluate(
            predict, data, scorer, batch_size=args.batch_size, progress=lambda _rows: None
        )

    def with_metrics() -> None:
        metrics.estimates(metrics.Sample(ledger=ledger_only()), METRICS)

    contenders = {"floor": floor, "ledger": ledger_only, "ledger and metrics": with_metrics}
    for contender in contenders.values():
        contender()
    timed: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.runs):
        for name, contender in contenders.items():
            timed[name].append(seconds(contender))
    ratios = {
        name: statistics.median(t / f for t, f in zip(times, timed["floor"], strict=True))
        for name, times in timed.items()
    }
    result = {
        "what": "MLP 64-128-10, classification; ratio to the forward passes alone",
        "rows": args.rows,
        "batch_size": args.batch_size,
        "threads": args.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "floor_seconds": round(statistics.median(timed["floor"]), 3),
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
    }
    print(json.dumps(result, indent=2))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
