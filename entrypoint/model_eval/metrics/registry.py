"""Which function computes which metric of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from model_eval.metrics import classification, ranking, regression
from model_eval.metrics.rows import FloatArray, Rows

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
    return found


REGISTRY = _registry()
