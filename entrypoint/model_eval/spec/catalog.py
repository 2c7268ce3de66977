"""The metrics by name: what a spec may ask for, without importing what computes them.

The functions are in `model_eval.metrics`; a test holds that the two agree.
"""

from dataclasses import dataclass
from math import inf

from model_eval.types import Task

BINARY = frozenset({Task.BINARY})
MULTICLASS = frozenset({Task.MULTICLASS})
CLASSIFICATION = BINARY | MULTICLASS
REGRESSION = frozenset({Task.REGRESSION})
MULTILABEL = frozenset({Task.MULTILABEL})
SEGMENTATION = frozenset({Task.SEGMENTATION})
LANGUAGE_MODELING = frozenset({Task.LANGUAGE_MODELING})
LABELLED = CLASSIFICATION | MULTILABEL


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricInfo:
    """What is known of a metric before any sample is.

    Attributes:
        low: the smallest value it can have; a threshold outside [low, high] is a fault.
        part: `class` where a spec may restrict it to one class (of a task that is not binary),
            `output` where it may restrict it to one output (regression), else None.
        needs_part: True where the metric means nothing without that class.
        needs_bytes: True where it needs the column `bytes`.
        undefined_when: the condition under which it has no value, as a clause. No metric has one
            where there are no samples, or where a sample's outputs are not finite.
    """

    name: str
    tasks: frozenset[Task]
    low: float
    high: float
    higher_is_better: bool
    undefined_when: str
    summary: str
    part: str | None = None
    needs_part: bool = False
    needs_bytes: bool = False


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
            for average, how in {
                "macro": "mean over the classes that occur as a target or a prediction",
                "micro": "from the counts of all classes together",
                "weighted": "mean over classes, weighted by their number of samples",
            }.items()
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


def _regression() -> list[MetricInfo]:
    return [
        MetricInfo(
            name=name,
            tasks=REGRESSION,
            low=low,
            high=high,
            higher_is_better=better,
            undefined_when=lacking,
            part="output",
            summary=f"{what}, mean over outputs",
        )
        for name, low, high, better, lacking, what in [
            ("mse", 0, inf, False, "there are no samples", "mean squared error"),
            ("rmse", 0, inf, False, "there are no samples", "root of the mean squared error"),
            ("mae", 0, inf, False, "there are no samples", "mean absolute error"),
            (
                "r2",
                -inf,
                1,
                True,
                "the targets are constant or there are fewer than two samples",
                "coefficient of determination",
            ),
        ]
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


def metrics_of(task: Task) -> tuple[str, ...]:
    """Every name that a spec of this task may write under `metrics`."""
    names = [name for name, info in METRICS.items() if task in info.tasks]
    names += sorted(name for name in EXPANDING if name.removesuffix("_per_class") in names)
    if task in CLASSIFICATION:
        names.append(CONFUSION_MATRIX)
    return tuple(names)
