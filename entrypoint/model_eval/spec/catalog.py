"""The metrics by name: what a spec may ask for, without importing what computes them.

The functions are in `model_eval.metrics`; a test holds that the two agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from model_eval.spec.params import BETA, BINS, MAX_FPR, QUANTILE, K, Param
from model_eval.types import MetricRef, Task

BINARY = frozenset({Task.BINARY})
MULTICLASS = frozenset({Task.MULTICLASS})
CLASSIFICATION = BINARY | MULTICLASS
REGRESSION = frozenset({Task.REGRESSION})
MULTILABEL = frozenset({Task.MULTILABEL})
SEGMENTATION = frozenset({Task.SEGMENTATION})
LANGUAGE_MODELING = frozenset({Task.LANGUAGE_MODELING})
LABELLED = CLASSIFICATION | MULTILABEL

_AVERAGES = {
    "macro": "mean over the classes that occur as a target or a prediction",
    "micro": "from the counts of all classes together",
    "weighted": "mean over classes, weighted by their number of samples",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricInfo:
    """What is known of a metric before any sample is.

    Attributes:
        low: the smallest value it can have; a threshold outside [low, high] is a fault.
        part: `class` where a spec may restrict it to one class (of a task that is not binary),
            `output` where it may restrict it to one output (regression), else None.
        higher_is_better: None where it is not known.
        needs_part: True where the metric means nothing without that class.
        needs_bytes: True where it needs the column `bytes`.
        undefined_when: the condition under which it has no value, as a clause. No metric has one
            where there are no samples, or where a sample's outputs are not finite.
        params: the numbers that are part of its definition, in alphabetical order.
    """

    name: str
    tasks: frozenset[Task]
    low: float
    high: float
    higher_is_better: bool | None
    undefined_when: str
    summary: str
    part: str | None = None
    needs_part: bool = False
    needs_bytes: bool = False
    params: tuple[Param, ...] = ()

    def arguments(self, ref: MetricRef) -> dict[str, float]:
        """The value of each parameter: the one that is given, else the default.

        Raises:
            ValueError: one is missing, unknown or outside of its range.
        """
        given = dict(ref.params)
        known = {param.name: param for param in self.params}
        found = {name: given.get(name, param.default) for name, param in known.items()}
        values = {name: value for name, value in found.items() if value is not None}
        if (
            not known.keys() >= given.keys()
            or values.keys() != known.keys()
            or not all(known[name].admits(value) for name, value in values.items())
        ):
            raise ValueError(f"`{ref.label}` does not have the parameters of `{self.name}`")
        return values


def _classification() -> list[MetricInfo]:
    found = [
        MetricInfo(
            name="accuracy",
            tasks=CLASSIFICATION,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="there are no samples",
            summary="share of samples whose predicted class is the target",
        ),
        MetricInfo(
            name="log_loss",
            tasks=LABELLED | LANGUAGE_MODELING,
            low=0,
            high=inf,
            higher_is_better=False,
            undefined_when="a target was given probability 0",
            summary="mean of -ln(probability of the target): over samples; multilabel: over samples "
            "and labels; language_modeling: over tokens",
        ),
    ]
    families = {
        "precision": ("TP / (TP + FP)", "nothing was predicted as the class"),
        "recall": ("TP / (TP + FN)", "no sample is of the class"),
        "f1": ("2 TP / (2 TP + FP + FN)", "the class is neither a target nor a prediction"),
    }
    for family, (formula, empty) in families.items():
        found.append(
            MetricInfo(
                name=family,
                tasks=LABELLED,
                low=0,
                high=1,
                higher_is_better=True,
                undefined_when=empty,
                part="class",
                needs_part=True,
                summary=f"{formula} of one class (binary: of the positive class)",
            )
        )
        found.extend(
            MetricInfo(
                name=f"{family}_{average}",
                tasks=LABELLED,
                low=0,
                high=1,
                higher_is_better=True,
                undefined_when="there are no samples",
                summary=f"{formula}, {how}",
            )
            for average, how in _AVERAGES.items()
        )
    for family, what in {
        "auroc": "area under the ROC curve",
        "average_precision": "average precision (area under the precision-recall steps)",
    }.items():
        lacking = (
            "a class has no samples, or has all of them"
            if family == "auroc"
            else "a class has no samples"
        )
        found.extend(
            [
                MetricInfo(
                    name=family,
                    tasks=LABELLED,
                    low=0,
                    high=1,
                    higher_is_better=True,
                    undefined_when=lacking,
                    part="class",
                    params=(MAX_FPR,) if family == "auroc" else (),
                    summary=f"{what}; without `class`, unless binary: mean over classes, each against "
                    "the rest",
                ),
                MetricInfo(
                    name=f"{family}_macro",
                    tasks=MULTICLASS | MULTILABEL,
                    low=0,
                    high=1,
                    higher_is_better=True,
                    undefined_when=lacking,
                    summary=f"{what}, mean over classes, each against the rest",
                ),
                MetricInfo(
                    name=f"{family}_weighted",
                    tasks=MULTICLASS | MULTILABEL,
                    low=0,
                    high=1,
                    higher_is_better=True,
                    undefined_when="one class has all samples"
                    if family == "auroc"
                    else "there are no samples",
                    summary=f"{what}, each against the rest, weighted by number of samples",
                ),
            ]
        )
    return found


_NO_SAMPLES = "there are no samples"
_CONSTANT = "the targets are constant or there are fewer than two samples"


def _regression() -> list[MetricInfo]:
    return [
        _error("mse", "mean squared error"),
        _error("rmse", "root of the mean squared error"),
        _error("mae", "mean absolute error"),
        _fit("r2", -inf, _CONSTANT, "coefficient of determination"),
    ]


def _more_regression() -> list[MetricInfo]:
    uncorrelated = "the targets or the predictions are constant"
    return [
        _error(
            "mape",
            "mean of the absolute error divided by the absolute target",
            undefined_when="a target is 0",
        ),
        _fit(
            "explained_variance",
            -inf,
            _CONSTANT,
            "1 - variance of the errors / variance of the targets",
        ),
        _fit("pearson", -1, uncorrelated, "Pearson's correlation"),
        _fit("spearman", -1, uncorrelated, "Spearman's rank correlation"),
        _error("max_error", "largest absolute error"),
        _error(
            "quantile_loss",
            "mean pinball loss of predictions of a quantile",
            params=(QUANTILE,),
        ),
        _error("median_absolute_error", "median of the absolute errors"),
    ]


def _error(
    name: str,
    what: str,
    *,
    undefined_when: str = _NO_SAMPLES,
    params: tuple[Param, ...] = (),
) -> MetricInfo:
    """Of each output of a regression: 0 where every prediction is right."""
    return MetricInfo(
        name=name,
        tasks=REGRESSION,
        low=0,
        high=inf,
        higher_is_better=False,
        undefined_when=undefined_when,
        part="output",
        params=params,
        summary=f"{what}, mean over outputs",
    )


def _fit(name: str, low: float, undefined_when: str, what: str) -> MetricInfo:
    """Of each output of a regression: 1 where every prediction is right."""
    return MetricInfo(
        name=name,
        tasks=REGRESSION,
        low=low,
        high=1,
        higher_is_better=True,
        undefined_when=undefined_when,
        part="output",
        summary=f"{what}, mean over outputs",
    )


def _agreement() -> list[MetricInfo]:
    """Of the predicted classes, as the families of `_classification`."""
    one_class = "all targets or all predictions are of one class"
    found = [
        MetricInfo(
            name=name,
            tasks=CLASSIFICATION,
            low=low,
            high=1,
            higher_is_better=True,
            undefined_when=lacking,
            summary=summary,
        )
        for name, low, lacking, summary in [
            (
                "balanced_accuracy",
                0,
                "there are no samples",
                "TP / (TP + FN), mean over the classes that have samples",
            ),
            ("matthews_corrcoef", -1, one_class, "correlation of targets and predicted classes"),
            (
                "cohen_kappa",
                -1,
                "all targets and predictions are of the same class",
                "agreement of targets and predicted classes beyond that of chance, which is 0",
            ),
            (
                "specificity_macro",
                0,
                "there are no samples",
                "TN / (TN + FP), mean over the classes that occur as a target or a prediction",
            ),
        ]
    ]
    fbeta = "(1 + β²) TP / ((1 + β²) TP + FP + β² FN)"
    for name, formula, lacking, params in [
        ("specificity", "TN / (TN + FP)", "all samples are of the class", ()),
        ("fbeta", fbeta, "the class is neither a target nor a prediction", (BETA,)),
    ]:
        found.append(
            MetricInfo(
                name=name,
                tasks=CLASSIFICATION,
                low=0,
                high=1,
                higher_is_better=True,
                undefined_when=lacking,
                part="class",
                needs_part=True,
                params=params,
                summary=f"{formula} of one class (binary: of the positive class)",
            )
        )
    found.extend(
        MetricInfo(
            name=f"fbeta_{average}",
            tasks=CLASSIFICATION,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="there are no samples",
            params=(BETA,),
            summary=f"{fbeta}, {how}",
        )
        for average, how in _AVERAGES.items()
    )
    return found


def _probabilities() -> list[MetricInfo]:
    """Of the probabilities, and of the order in which they put the classes."""
    return [
        MetricInfo(
            name="top_k_accuracy",
            tasks=MULTICLASS,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="k is not below the number of classes",
            params=(K,),
            summary="share of samples whose target is among the k classes with the highest scores",
        ),
        MetricInfo(
            name="auroc_ovo",
            tasks=MULTICLASS,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="a class has no samples",
            summary="area under the ROC curve, mean over pairs of classes, each against the other",
        ),
        MetricInfo(
            name="brier_score",
            tasks=CLASSIFICATION,
            low=0,
            high=2,
            higher_is_better=False,
            undefined_when="there are no samples",
            summary="mean squared error of the probabilities, summed over classes (binary: of the positive class, so at most 1)",
        ),
        *(
            MetricInfo(
                name=name,
                tasks=CLASSIFICATION,
                low=0,
                high=1,
                higher_is_better=False,
                undefined_when="there are no samples",
                params=(BINS,),
                summary="expected calibration error of the predicted class (binary: of the "
                f"positive class's probability), in bins of equal {kind}",
            )
            for name, kind in {"ece": "width", "ece_adaptive": "weight"}.items()
        ),
    ]


def _multilabel() -> list[MetricInfo]:
    found = [
        MetricInfo(
            name="exact_match",
            tasks=MULTILABEL,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="there are no samples",
            summary="share of samples of which every label is predicted as it is",
        ),
        MetricInfo(
            name="hamming_loss",
            tasks=MULTILABEL,
            low=0,
            high=1,
            higher_is_better=False,
            undefined_when="there are no samples",
            summary="share of wrong ones among all labels of all samples",
        ),
    ]
    found.extend(
        MetricInfo(
            name=f"{family}_samples",
            tasks=MULTILABEL,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="there are no samples",
            summary=f"{formula} over the labels of a sample, 0/0 is 0; mean over samples",
        )
        for family, formula in {
            "precision": "TP / (TP + FP)",
            "recall": "TP / (TP + FN)",
            "f1": "2 TP / (2 TP + FP + FN)",
        }.items()
    )
    return found


def _segmentation() -> list[MetricInfo]:
    found = []
    for family, formula in {
        "iou": "TP / (TP + FP + FN)",
        "dice": "2 TP / (2 TP + FP + FN)",
    }.items():
        for name, lacking, what in [
            (
                family,
                "the class is neither a target nor a prediction",
                "of one class, from the pixels of all images together",
            ),
            (
                f"{family}_macro",
                "no pixel is counted",
                (
                    "from the pixels of all images together, mean over the classes that occur as a "
                    "target or a prediction"
                ),
            ),
            (
                f"{family}_per_image",
                "no pixel is counted",
                "of each image, mean over the classes that occur in it; mean over images",
            ),
        ]:
            found.append(
                MetricInfo(
                    name=name,
                    tasks=SEGMENTATION,
                    low=0,
                    high=1,
                    higher_is_better=True,
                    undefined_when=lacking,
                    part="class" if name == family else None,
                    needs_part=name == family,
                    summary=f"{formula} {what}",
                )
            )
    found.append(
        MetricInfo(
            name="pixel_accuracy",
            tasks=SEGMENTATION,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="no pixel is counted",
            summary="share of pixels whose predicted class is the target",
        )
    )
    return found


def _language_modeling() -> list[MetricInfo]:
    impossible = "a target was given probability 0"
    return [
        MetricInfo(
            name="perplexity",
            tasks=LANGUAGE_MODELING,
            low=1,
            high=inf,
            higher_is_better=False,
            undefined_when=impossible,
            summary="exp of the mean over tokens of -ln(probability of the target)",
        ),
        MetricInfo(
            name="bits_per_byte",
            tasks=LANGUAGE_MODELING,
            low=0,
            high=inf,
            higher_is_better=False,
            undefined_when=f"{impossible}, or the documents have no bytes",
            needs_bytes=True,
            summary="sum over tokens of -log2(probability of the target), over the sum of `bytes`",
        ),
        MetricInfo(
            name="token_accuracy",
            tasks=LANGUAGE_MODELING,
            low=0,
            high=1,
            higher_is_better=True,
            undefined_when="no token is counted",
            summary="share of tokens whose most probable prediction is the target",
        ),
    ]


def _cost() -> list[MetricInfo]:
    untimed = "the model cannot be run at `cost.batch_size`"
    return [
        MetricInfo(
            name=name,
            tasks=frozenset(Task),
            low=0,
            high=inf,
            higher_is_better=better,
            undefined_when=lacking,
            summary=summary,
        )
        for name, better, lacking, summary in [
            *(
                (
                    f"latency_p{percent}_ms",
                    False,
                    untimed,
                    f"{what} of the time that one batch takes, in milliseconds",
                )
                for percent, what in {
                    50: "median",
                    95: "95th percentile",
                    99: "99th percentile",
                }.items()
            ),
            ("throughput", True, untimed, "samples a second over all timed batches"),
            (
                "peak_memory_mb",
                False,
                "the system does not tell it",
                "peak resident memory of the whole process (VmHWM), in MB (10⁶ bytes)",
            ),
            (
                "peak_device_memory_mb",
                False,
                "the model runs on the CPU, or torch does not count the device's memory",
                "peak of what torch allocated on the accelerator, weights included, in MB",
            ),
            ("parameters", False, "never", "elements of the model's parameters"),
            ("model_size_mb", False, "never", "size of the checkpoint's files, in MB"),
        ]
    ]


CATALOG: dict[str, MetricInfo] = {
    m.name: m
    for m in (
        *_classification(),
        *_regression(),
        *_agreement(),
        *_probabilities(),
        *_more_regression(),
        *_multilabel(),
        *_segmentation(),
        *_language_modeling(),
    )
}

COST: dict[str, MetricInfo] = {m.name: m for m in _cost()}
"""What the model costs. Not of the ledger: these have no slices, weights or resamples."""

TIMED = frozenset(COST) - {"parameters", "model_size_mb"}
"""The costs that need a pass of their own."""

SAMPLED_COST = frozenset(name for name in COST if name.startswith("latency_"))
"""The costs of which there is an interval; the others are counted or timed once."""

METRICS: dict[str, MetricInfo] = CATALOG | COST
"""Everything that has one value and can be gated."""

EXPANDING = frozenset(
    {
        "precision_per_class",
        "recall_per_class",
        "f1_per_class",
        "iou_per_class",
        "dice_per_class",
    }
)
"""Names that stand for one metric per class; they can be asked for, not gated."""

CONFUSION_MATRIX = "confusion_matrix"
"""Asked for in `metrics`, it is reported whatever the number of classes; it cannot be gated."""

KNOWN = (*CATALOG, *COST, *sorted(EXPANDING), CONFUSION_MATRIX)
"""Every name of a metric that a spec may write without bringing it."""


def metrics_of(task: Task) -> tuple[str, ...]:
    """Every name that a spec of this task may write under `metrics`."""
    names = [name for name, info in METRICS.items() if task in info.tasks]
    names += sorted(name for name in EXPANDING if name.removesuffix("_per_class") in names)
    if task in CLASSIFICATION:
        names.append(CONFUSION_MATRIX)
    return tuple(names)


def narrowed(info: MetricInfo, task: Task, params: Mapping[str, float]) -> MetricInfo:
    """What is known of the metric in this task and with these parameters: a smaller range."""
    if info.name == "brier_score" and task is Task.BINARY:
        return replace(info, high=1)
    if info.name == "auroc" and (share := params.get(MAX_FPR.name)) is not None:
        # No area at all, on the scale on which chance is 0.5 and all of it is 1.
        return replace(info, low=(1 - share) / (2 - share))
    return info
