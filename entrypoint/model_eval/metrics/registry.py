"""Which function computes which metric of the catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from types import MappingProxyType

from model_eval.metrics import (
    agreement,
    classification,
    correlation,
    language_modeling,
    multilabel,
    probability,
    ranking,
    regression,
    roc,
    segmentation,
)
from model_eval.metrics.rows import FloatArray, Rows
from model_eval.spec.catalog import CATALOG, MetricInfo
from model_eval.types import MetricRef, Task

Trials = tuple[FloatArray, FloatArray]
"""Successes (B,) and trials (B,)."""


class Needs(Enum):
    """What a metric takes from weighted rows, and so what it costs to resample it.

    `COUNTS`: only `rows.counts`. `SUMS`: only `rows.counts`, `rows.size`, `rows.mean`, `rows.sums`,
    `rows.moments`, `rows.correlation` and `rows.constant`, which are functions of sums over rows.
    `RANKS`: the weights of single rows. `EXTREMES`: it hangs on one row, so that no resampling says
    how much it varies, and it has no interval.
    """

    COUNTS = auto()
    SUMS = auto()
    RANKS = auto()
    EXTREMES = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """How a metric is computed: (B,), NaN where it is undefined, infinite where it overflows.

    Each function takes the metric's parameters as further keyword arguments; `with_params` binds
    them.

    Attributes:
        whole: the metric where the spec names no part.
        of_part: the metric of the class or output of that index; None where there are no parts.
        needs: what it takes from the rows.
        trials: where the metric is a share of independent rows, the successes and the number of
            trials, each (B,); None where it is something else.
        trials_of_part: the same for the class or output of that index.
        influence: (N,) how much each row moves the metric, around 0, where that is known and the
            parameters are the default ones; with many rows it takes the place of a bootstrap of
            `RANKS`.
        influence_of_part: the same for the class or output of that index.
        of_row: (N,) where the metric is the mean of bounded numbers of one row each that are more than
            right or wrong, these numbers; None of any other, and of what has trials.
        no_interval: where resampling does not say how much it varies, why not, as a clause.
        ranks_classes: whether it ranks the rows of a class against the others, so that it is known no
            better than by the fewer of the two.
    """

    needs: Needs
    whole: Callable[..., FloatArray]
    of_part: Callable[..., FloatArray] | None = None
    trials: Callable[..., Trials] | None = None
    trials_of_part: Callable[..., Trials] | None = None
    influence: Callable[[Rows], FloatArray] | None = None
    influence_of_part: Callable[[Rows, int], FloatArray] | None = None
    of_row: Callable[[Rows], FloatArray] | None = None
    no_interval: str | None = None
    ranks_classes: bool = False

    def with_params(self, **params: float) -> "Metric":
        """The metric whose functions take rows, and the index of a part, alone."""
        if not params:
            return self
        return replace(
            self,
            whole=partial(self.whole, **params),
            of_part=self.of_part and partial(self.of_part, **params),
            trials=self.trials and partial(self.trials, **params),
            trials_of_part=self.trials_of_part and partial(self.trials_of_part, **params),
        )


def _registry() -> dict[str, Metric]:
    found = {
        "accuracy": Metric(
            needs=Needs.COUNTS, whole=classification.accuracy, trials=classification.hits_of_all
        ),
        "log_loss": Metric(needs=Needs.SUMS, whole=classification.log_loss),
    }
    ratios: dict[str, classification.Ratio] = {
        "precision": classification.precision,
        "recall": classification.recall,
        "f1": classification.f1,
        "fbeta": classification.fbeta,
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
    areas: dict[str, ranking.OfClass] = {
        "auroc": roc.auroc,
        "average_precision": ranking.average_precision_of,
    }
    for name, area in areas.items():
        influence = name == "auroc"
        found[name] = Metric(
            needs=Needs.RANKS,
            whole=partial(ranking.of_all, area),
            of_part=area,
            influence=ranking.influence_of_all if influence else None,
            influence_of_part=ranking.auroc_influence if influence else None,
            ranks_classes=True,
        )
        found[f"{name}_macro"] = Metric(
            needs=Needs.RANKS,
            whole=partial(ranking.macro, area),
            influence=ranking.influence_of_all if influence else None,
            ranks_classes=True,
        )
        found[f"{name}_weighted"] = Metric(
            needs=Needs.RANKS, whole=partial(ranking.weighted, area), ranks_classes=True
        )
    return {
        **found,
        **_further_classification(),
        **_regression(),
        **_multilabel(),
        **_segmentation(),
        **_language_modeling(),
    }


def _further_classification() -> dict[str, Metric]:
    return {
        "balanced_accuracy": Metric(needs=Needs.COUNTS, whole=agreement.balanced_accuracy),
        "matthews_corrcoef": Metric(needs=Needs.COUNTS, whole=agreement.matthews_corrcoef),
        "cohen_kappa": Metric(needs=Needs.COUNTS, whole=agreement.cohen_kappa),
        "specificity": Metric(
            needs=Needs.COUNTS,
            whole=partial(classification.of_positive, classification.specificity),
            of_part=partial(classification.of_class, classification.specificity),
            trials=partial(classification.rejected_of_class, index=1),
            trials_of_part=classification.rejected_of_class,
        ),
        "specificity_macro": Metric(
            needs=Needs.COUNTS, whole=partial(classification.macro, classification.specificity)
        ),
        "top_k_accuracy": Metric(
            needs=Needs.SUMS, whole=probability.top_k_accuracy, trials=probability.top_k_hits
        ),
        "auroc_ovo": Metric(needs=Needs.RANKS, whole=roc.auroc_ovo, ranks_classes=True),
        "brier_score": Metric(
            needs=Needs.SUMS, whole=probability.brier_score, of_row=probability.brier_of_row
        ),
        "ece": Metric(needs=Needs.SUMS, whole=probability.ece),
        "ece_adaptive": Metric(needs=Needs.RANKS, whole=probability.ece_adaptive),
    }


def _regression() -> dict[str, Metric]:
    errors: dict[str, tuple[regression.OfOutput, Needs]] = {
        "mse": (regression.mse, Needs.SUMS),
        "rmse": (regression.rmse, Needs.SUMS),
        "mae": (regression.mae, Needs.SUMS),
        "r2": (regression.r2, Needs.SUMS),
        "mape": (regression.mape, Needs.SUMS),
        "explained_variance": (regression.explained_variance, Needs.SUMS),
        "pearson": (correlation.pearson, Needs.SUMS),
        "spearman": (correlation.spearman, Needs.RANKS),
        "max_error": (regression.max_error, Needs.EXTREMES),
        "quantile_loss": (regression.quantile_loss, Needs.SUMS),
        "median_absolute_error": (regression.median_absolute_error, Needs.RANKS),
    }
    return {
        name: Metric(
            needs=needs,
            whole=partial(regression.mean_over_outputs, error),
            of_part=partial(regression.of_output, error),
        )
        for name, (error, needs) in errors.items()
    }


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
        "hamming_loss": Metric(
            needs=Needs.SUMS, whole=multilabel.hamming_loss, of_row=multilabel.wrong_share_of_row
        ),
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


REGISTRY = _registry()
_OF_TASKS = _of_tasks()


@dataclass(frozen=True, kw_only=True, slots=True)
class Brought:
    """A metric that is not in the catalogue: what is known of it, and how it is computed."""

    info: MetricInfo
    metric: Metric


NONE_BROUGHT: Mapping[str, Brought] = MappingProxyType({})


def info_of(name: str, brought: Mapping[str, Brought] = NONE_BROUGHT) -> MetricInfo | None:
    """What is known of the metric of that name; None where there is none."""
    return brought[name].info if name in brought else CATALOG.get(name)


def metric_of(ref: MetricRef, task: Task, brought: Mapping[str, Brought] = NONE_BROUGHT) -> Metric:
    """How the metric that a spec names is computed for a task that has it, its parameters bound.

    Raises:
        ValueError: there is no such metric, or it has other parameters.
    """
    info = info_of(ref.name, brought)
    if info is None:
        raise ValueError(f"there is no metric `{ref.name}`")
    if ref.name in brought:
        metric = brought[ref.name].metric
    else:
        metric = _OF_TASKS.get((ref.name, task)) or REGISTRY[ref.name]
    return metric.with_params(**info.arguments(ref))
