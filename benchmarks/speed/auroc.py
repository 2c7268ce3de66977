"""(c) The area under the ROC curve of very many scores: time, memory, error.

One process for each contender and round: how much memory something takes can only be seen in a fresh
one. Ours has the settings with which `model-eval run` starts it.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import exact
from benchmarks.speed.child import in_child, say, serve
from benchmarks.speed.contest import Kind
from benchmarks.speed.memory import peak_extra
from model_eval.supervise import child_environ

WARM_UP = 10_000
BINS = 200

Compute = Callable[[], float]
Prepare = Callable[[np.ndarray, np.ndarray], Compute]
"""Scores float32 (N,) and targets int64 (N,) → what is timed; a contender's own form is made before."""


def _ours(score: np.ndarray, target: np.ndarray) -> Compute:
    from benchmarks.speed import ours

    rows = ours.binary_ledger(target, score)
    return lambda: ours.values(rows, ("auroc",))["auroc"]


def _torchmetrics(score: np.ndarray, target: np.ndarray) -> Compute:
    import torch
    from torchmetrics.classification import BinaryAUROC

    return _of_object(BinaryAUROC, torch.from_numpy(score).sigmoid(), torch.from_numpy(target))


def _torchmetrics_binned(score: np.ndarray, target: np.ndarray) -> Compute:
    import torch
    from torchmetrics.classification import BinaryAUROC

    given = torch.from_numpy(score).sigmoid(), torch.from_numpy(target)
    return _of_object(lambda: BinaryAUROC(thresholds=BINS), *given)


def _torcheval(score: np.ndarray, target: np.ndarray) -> Compute:
    import torch
    from torcheval.metrics import BinaryAUROC

    return _of_object(BinaryAUROC, torch.from_numpy(score), torch.from_numpy(target))


def _of_object(make: Callable[[], Any], score: Any, target: Any) -> Compute:
    def compute() -> float:
        metric = make()
        metric.update(score, target)
        return metric.compute().item()

    return compute


def _sklearn(score: np.ndarray, target: np.ndarray) -> Compute:
    from sklearn.metrics import roc_auc_score

    return lambda: float(roc_auc_score(target, score))


def _torch_sort(score: np.ndarray, target: np.ndarray) -> Compute:
    import torch

    given, positive = torch.from_numpy(score), torch.from_numpy(target) == 1

    def compute() -> float:
        own = positive[given.argsort()]  # level scores in any order: not exact where there are any
        below = (~own).cumsum(0)
        return (below[own].double().mean() / below[-1]).item()

    return compute


def _searched(score: np.ndarray, target: np.ndarray) -> Compute:
    from benchmarks.speed.peers.by_hand import area

    positive = target == 1
    return lambda: area(score, positive)


CONTENDERS: Mapping[str, tuple[Kind, Prepare]] = {
    "model-eval": ("ours", _ours),
    "numpy, sides sorted apart and searched": ("reference", _searched),
    "torch, one sort": ("reference", _torch_sort),
    "torchmetrics": ("peer", _torchmetrics),
    f"torchmetrics, binned at {BINS}": ("peer", _torchmetrics_binned),
    "torcheval": ("peer", _torcheval),
    "scikit-learn": ("peer", _sklearn),
}


def compare(settings: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
    """All contenders in turn, each round in another order."""
    say(f"AUROC of {settings['scores']:,} scores, {threads} thread(s)")
    with tempfile.TemporaryDirectory() as folder:
        score, target = draw(settings["scores"])
        np.save(Path(folder) / "score.npy", score)
        np.save(Path(folder) / "target.npy", target)
        # What torchmetrics sees are probabilities in float32, and more of those are level.
        truths = {
            "logits": exact.auroc(score, target == 1),
            "probabilities": exact.auroc(_sigmoid(score), target == 1),
        }
        del score, target
        seen: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
        for number in range(settings["runs"]):
            order = list(CONTENDERS)
            random.Random(number).shuffle(order)
            for name in order:
                asked = {"name": name, "folder": folder}
                ours = CONTENDERS[name][0] == "ours"
                found = in_child(
                    "benchmarks.speed.auroc",
                    asked,
                    threads=threads,
                    environ=child_environ(os.environ) if ours else os.environ,
                )
                seen[name].append(found)
                say(f"round {number + 1}: {name}: {seen[name][-1]}")
    return {
        "part": "auroc",
        "rows": settings["scores"],
        "threads": threads,
        "runs": settings["runs"],
        "contenders": [_row(name, seen[name], truths) for name in CONTENDERS],
    }


def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Binormal log-odds float32 (N,), one in three positive, and targets int64 (N,)."""
    generator = np.random.default_rng(0)
    target = (generator.random(rows) < 1 / 3).astype(np.int64)
    score = generator.standard_normal(rows, dtype=np.float32)
    score += target
    return score, target


def _sigmoid(score: np.ndarray) -> np.ndarray:
    import torch

    return torch.from_numpy(score).sigmoid().numpy()


def _row(name: str, seen: list[dict[str, Any]], truths: Mapping[str, Fraction]) -> dict[str, Any]:
    value = Fraction(seen[-1]["value"])
    return {
        "name": name,
        "kind": CONTENDERS[name][0],
        "seconds": round(statistics.median(one["seconds"] for one in seen), 4),
        "extra_mib": round(statistics.median(one["extra"] for one in seen) / 2**20, 1),
        "value": seen[-1]["value"],
        "error": float(abs(value - truths["logits"])),
        # Of the same scores after a sigmoid in float32: what is left is the arithmetic's own.
        "error_of_probabilities": float(abs(value - truths["probabilities"]))
        if name.startswith("torchmetrics")
        else None,
    }


def one(settings: Mapping[str, Any]) -> dict[str, float]:
    """In the process of its own: seconds, bytes at the peak, value."""
    prepare = CONTENDERS[settings["name"]][1]
    folder = Path(settings["folder"])
    score, target = np.load(folder / "score.npy"), np.load(folder / "target.npy")
    prepare(score[:WARM_UP], target[:WARM_UP])()
    compute = prepare(score, target)
    if settings["name"].startswith("torchmetrics"):
        del score  # it was given another form of it
    started = time.perf_counter()
    extra, value = peak_extra(compute)
    return {"seconds": time.perf_counter() - started, "extra": extra, "value": value}


if __name__ == "__main__":
    serve(one)
