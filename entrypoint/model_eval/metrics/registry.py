"""Which function computes which metric of the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from model_eval.metrics import classification, ranking, regression
from model_eval.metrics.rows import FloatArray, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a metric is computed: (B,), NaN where it is undefined, infinite where it overflows.

    Attributes:
        whole: the metric where the spec names no part.
        of_part: the metric of the class or output of that index; None where there are no parts.
    """

    whole: Callable[[Rows], FloatArray]
    of_part: Callable[[Rows, int], FloatArray] | None = None


def _registry() -> dict[str, Metric]:
    found = {
        "accuracy": Metric(whole=classification.accuracy),
        "log_loss": Metric(whole=classification.log_loss),
    }
    ratios = {
        "precision": classification.precision,
        "recall": classification.recall,
        "f1": classification.f1,
    }
    for name, ratio in ratios.items():
        found[name] = Metric(
            whole=partial(classification.of_positive, ratio),
            of_part=partial(classification.of_class, ratio),
        )
        found[f"{name}_macro"] = Metric(whole=partial(classification.macro, ratio))
        found[f"{name}_micro"] = Metric(whole=partial(classification.micro, ratio))
        found[f"{name}_weighted"] = Metric(whole=partial(classification.weighted, ratio))
    areas = {"auroc": ranking.auroc_of, "average_precision": ranking.average_precision_of}
    for name, area in areas.items():
        found[name] = Metric(whole=partial(ranking.of_all, area), of_part=area)
        found[f"{name}_macro"] = Metric(whole=partial(ranking.macro, area))
        found[f"{name}_weighted"] = Metric(whole=partial(ranking.weighted, area))
    errors = {
        "mse": regression.mse,
        "rmse": regression.rmse,
        "mae": regression.mae,
        "r2": regression.r2,
    }
    for name, error in errors.items():
        found[name] = Metric(
            whole=partial(regression.mean_over_outputs, error),
            of_part=partial(regression.of_output, error),
        )
    return found


REGISTRY = _registry()
