"""Which function computes which metric of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial

from model_eval.metrics import (
    classification,
    language_modeling,
    multilabel,
    ranking,
    regression,
    segmentation,
)
from model_eval.metrics.rows import FloatArray, Rows
from model_eval.types import Task

Trials = tuple[FloatArray, FloatArray]
"""Successes (B,) and trials (B,)."""


class Needs(Enum):
    """What a metric takes from weighted rows, and so what it costs to resample it.

    `COUNTS`: only `rows.counts`. `SUMS`: only `rows.counts`, `rows.mean` and `rows.sums`, which are
    smooth functions of sums over rows. `RANKS`: the weights of single rows. `EXTREMES`: it hangs on
    one row, so that no resampling says how much it varies, and it has no interval.
    """

    COUNTS = auto()
    SUMS = auto()
    RANKS = auto()
    EXTREMES = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a metric is computed: (B,), NaN where it is undefined, infinite where it overflows.

    Attributes:
        whole: the metric where the spec names no part.
        of_part: the metric of the class or output of that index; None where there are no parts.
        needs: what it takes from the rows.
        trials: where the metric is a share of independent rows, the successes and the number of
            trials, each (B,); None where it is something else.
        trials_of_part: the same for the class or output of that index.
        influence: (N,) how much each row moves the metric, around 0, where that is known; with
            many rows it takes the place of a bootstrap of `RANKS`.
        influence_of_part: the same for the class or output of that index.
    """

    needs: Needs
    whole: Callable[[Rows], FloatArray]
    of_part: Callable[[Rows, int], FloatArray] | None = None
    trials: Callable[[Rows], Trials] | None = None
    trials_of_part: Callable[[Rows, int], Trials] | None = None
    influence: Callable[[Rows], FloatArray] | None = None
    influence_of_part: Callable[[Rows, int], FloatArray] | None = None


def _registry() -> dict[str, Metric]:
    found = {
        "accuracy": Metric(
            needs=Needs.COUNTS, whole=classification.accuracy, trials=classification.hits_of_all
        ),
        "log_loss": Metric(needs=Needs.SUMS, whole=classification.log_loss),
    }
    ratios = {
        "precision": classification.precision,
        "recall": classification.recall,
        "f1": classification.f1,
    }
    for name, ratio in ratios.items():
        trials = {
            "precision": classification.hits_of_predicted,
            "recall": classification.hits_of_class,
        }.get(name)
        found[name] = Metric(
            needs=Needs.COUNTS,
            whole=partial(classification.of_positive, ratio),
            of_part=partial(classification.of_class, ratio),
            trials=trials and partial(trials, index=1),
            trials_of_part=trials,
        )
        for average, mean in {
            "macro": classification.macro,
            "micro": classification.micro,
            "weighted": classification.weighted,
        }.items():
            found[f"{name}_{average}"] = Metric(
                needs=Needs.COUNTS,
                whole=partial(mean, ratio),
                trials=classification.hits_of_all if average == "micro" else None,
            )
    areas = {"auroc": ranking.auroc_of, "average_precision": ranking.average_precision_of}
    for name, area in areas.items():
        influence = name == "auroc"
        found[name] = Metric(
            needs=Needs.RANKS,
            whole=partial(ranking.of_all, area),
            of_part=area,
            influence=ranking.influence_of_all if influence else None,
            influence_of_part=ranking.auroc_influence if influence else None,
        )
        found[f"{name}_macro"] = Metric(
            needs=Needs.RANKS,
            whole=partial(ranking.macro, area),
            influence=ranking.influence_of_all if influence else None,
        )
        found[f"{name}_weighted"] = Metric(needs=Needs.RANKS, whole=partial(ranking.weighted, area))
    errors = {
        "mse": regression.mse,
        "rmse": regression.rmse,
        "mae": regression.mae,
        "r2": regression.r2,
    }
    for name, error in errors.items():
        found[name] = Metric(
            needs=Needs.SUMS,
            whole=partial(regression.mean_over_outputs, error),
            of_part=partial(regression.of_output, error),
        )
    return found | _multilabel() | _segmentation() | _language_modeling()


def _multilabel() -> dict[str, Metric]:
    ratios = {
        "precision": classification.precision,
        "recall": classification.recall,
        "f1": classification.f1,
    }
    return {
        "exact_match": Metric(
            needs=Needs.SUMS, whole=multilabel.exact_match, trials=multilabel.exact_matches
        ),
        "hamming_loss": Metric(needs=Needs.SUMS, whole=multilabel.hamming_loss),
    } | {
        f"{name}_samples": Metric(needs=Needs.SUMS, whole=partial(multilabel.samples, ratio))
        for name, ratio in ratios.items()
    }


def _segmentation() -> dict[str, Metric]:
    # Neighbouring pixels are not independent, so that none of these has trials.
    found = {"pixel_accuracy": Metric(needs=Needs.COUNTS, whole=classification.accuracy)}
    for name, ratio in {"iou": segmentation.iou, "dice": classification.f1}.items():
        found[name] = Metric(
            needs=Needs.COUNTS,
            whole=partial(classification.macro, ratio),
            of_part=partial(classification.of_class, ratio),
        )
        found[f"{name}_macro"] = Metric(
            needs=Needs.COUNTS, whole=partial(classification.macro, ratio)
        )
        found[f"{name}_per_image"] = Metric(
            needs=Needs.SUMS, whole=partial(segmentation.per_image, ratio)
        )
    return found


def _language_modeling() -> dict[str, Metric]:
    return {
        "perplexity": Metric(needs=Needs.SUMS, whole=language_modeling.perplexity),
        "bits_per_byte": Metric(needs=Needs.SUMS, whole=language_modeling.bits_per_byte),
        "token_accuracy": Metric(needs=Needs.SUMS, whole=language_modeling.token_accuracy),
    }


def _of_tasks() -> dict[tuple[str, Task], Metric]:
    """What a task computes otherwise than the others that have a metric of this name."""
    found = {
        ("log_loss", Task.LANGUAGE_MODELING): Metric(
            needs=Needs.SUMS, whole=language_modeling.log_loss
        )
    }
    for name in ("precision_micro", "recall_micro", "f1_micro"):
        # A sample's labels are not independent, so that these are no trials.
        found[name, Task.MULTILABEL] = replace(REGISTRY[name], trials=None)
    return found


def metric_of(name: str, task: Task) -> Metric:
    """How a metric of the catalogue is computed for a task that has it."""
    return _OF_TASKS.get((name, task)) or REGISTRY[name]


REGISTRY = _registry()
_OF_TASKS = _of_tasks()
