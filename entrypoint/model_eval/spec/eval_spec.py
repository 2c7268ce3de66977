"""The spec after validation: frozen, complete, with every default filled in.

Paths are absolute here; `display` strings are relative to the root for messages and reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model_eval.types import (
    MAIN_HELDOUT,
    OF_DIFFERENCE,
    DecideOn,
    Gate,
    Location,
    MetricRef,
    OnUndecided,
    OutputKind,
    Task,
)

IGNORE_INDEX = -100
"""The target that is not counted where a spec states no other: torch's `cross_entropy` has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathRef:
    """A file or folder named in the spec: where it is, and how to write it for people."""

    path: Path
    display: str
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeRef:
    """A callable of the user's: `file.py:callable` (file set) or `package.module:callable`.

    Attributes:
        source: the module's file below the spec's folder, which is the one that must be imported;
            None where there is none, so that the module can only be an installed one.
    """

    text: str
    file: Path | None
    module: str | None
    attribute: str
    kwargs: Mapping[str, Any]
    location: Location
    source: PathRef | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """How the model is made and what comes out of it.

    Attributes:
        output: what a classifier's numbers are; None for regression.
        output_field: which field of a mapping or object, or which position of a tuple, is it.
        postprocess: `f(outputs) -> Tensor`, applied to what the model returns.
    """

    factory: CodeRef
    output: OutputKind | None
    output_field: str | int | None
    postprocess: CodeRef | None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSpec:
    """The checkpoint and, where the spec pins it, its digest (64 lower-case hex digits)."""

    path: PathRef
    sha256: str | None
    state_key: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSpec:
    """How an image becomes a float32 tensor of shape (C, H, W).

    In this order: convert to `mode`, resize, crop at the centre, multiply by `scale`, subtract
    `mean` and divide by `std` (per channel). Sizes are (height, width) in pixels.
    """

    mode: str
    resize: tuple[int, int] | int | None
    interpolation: str
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """One argument of the model.

    Attributes:
        columns: names or `*`-patterns, in the order of the spec; a pattern stands for the columns
            it matches in the file's order. They are stacked along the second axis when there is
            more than one, or when `columns:` was written.
        stack: True where the spec wrote `columns:`, so that one column gives (N, 1) also.
        dtype: torch's name for the dtype to convert to; None keeps the file's.
        shape: of one sample, after conversion; None keeps the file's.
        scale: multiplies the values after conversion.
    """

    columns: tuple[str, ...]
    stack: bool
    dtype: str | None
    shape: tuple[int, ...] | None
    scale: float | None
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceFamily:
    """What divides a held-out set into slices.

    Attributes:
        name: what gates and reports call it.
        columns: each combination of their values that occurs is a slice; empty for a condition.
        edges: rising numbers between the bins of the one column; empty where values are slices.
        where: a condition as `spec.expression` reads it; the one slice has the family's name.
        labels: of the slices, where they are known without the data.
    """

    name: str
    columns: tuple[str, ...]
    edges: tuple[float, ...]
    where: str | None
    labels: tuple[str, ...]
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutSpec:
    """The held-out set: where it is and which column is what.

    Exactly one of `path`, `columns_from` (column name → `.npy` file) and `loader` is set.

    Attributes:
        format: parquet, csv, npz, npy, pt, safetensors, image_folder or loader.
        args: positional arguments of the model, `kwargs` its keyword arguments.
        targets: one column, or several for a regression or multilabel task with several outputs.
        weight: the column of how much each sample counts.
        slices: the columns that the ledger keeps for `families`.
        families: what divides the set into slices.
        classes: class names in the order of the model's outputs, or None; of a multilabel task
            with several target columns their names, where the spec states no others.
        count: how many samples there must be, where the spec declares it.
        transform: `f(*args, **kwargs)` on a batch of inputs, on the model's side.
        ignore_index: a target that is not counted, of a pixel or token.
        shift: whether a token's target is the next one in the target column.
        bytes: the column with the length of each document in bytes, or None.
    """

    format: str
    path: PathRef | None
    columns_from: Mapping[str, PathRef]
    loader: CodeRef | None
    args: tuple[InputSpec, ...]
    kwargs: Mapping[str, InputSpec]
    targets: tuple[str, ...]
    id: str | None
    cluster: str | None
    slices: tuple[str, ...]
    classes: tuple[str, ...] | None
    count: int | None
    image: ImageSpec | None
    transform: CodeRef | None
    sha256: str | None
    disjoint_from: tuple[PathRef, ...]
    location: Location
    locations: Mapping[str, Location]
    weight: str | None = None
    families: tuple[SliceFamily, ...] = ()
    ignore_index: int = IGNORE_INDEX
    shift: bool = False
    bytes: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """How the model is run.

    Attributes:
        precision: fp32, tf32, bf16 or fp16.
        batch_size: samples a batch; None where it is to be measured.
        memory_format: contiguous or channels_last.
        compile: whether torch.compile is tried.
        stop_early: whether samples are taken in a random order until every required gate is decided.
    """

    device: str
    precision: str
    batch_size: int | None
    seed: int
    device_location: Location
    memory_format: str = "contiguous"
    compile: bool = False
    stop_early: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomMetric:
    """A metric that the spec brings.

    Attributes:
        name: what it is called in the spec; begins with `torchmetrics.` where it is one of these.
        code: `f(columns, weights, **kwargs) -> float`, or the class of torchmetrics'.
        higher_is_better: None where the spec does not say.
        rowwise: True where it is a function of weighted rows, each of which counts as often as it
            weighs, so that resampling says how much it varies.
    """

    name: str
    code: CodeRef
    higher_is_better: bool | None
    rowwise: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CostSpec:
    """How a prediction is timed: `runs` calls on `batch_size` samples, after `warmup` others."""

    batch_size: int = 1
    warmup: int = 10
    runs: int = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineSpec:
    """What the checkpoint is compared with: exactly one of `checkpoint`, `ledger` and `git` is set.

    Attributes:
        factory: what makes the baseline's model; None is the spec's own.
        git: a ref of the repository whose version of this spec is evaluated.
        sha256: the digest of the checkpoint's or the ledger's file, where the spec pins it.
    """

    checkpoint: CheckpointSpec | None
    factory: CodeRef | None
    ledger: PathRef | None
    git: str | None
    location: Location
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSpec:
    """Named inputs whose outputs must stay within `tolerance` of the recorded ones."""

    heldout: HeldOutSpec
    tolerance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """What holds for all gates that do not say otherwise.

    Attributes:
        confidence: of every interval, both sides together.
        refuse_underpowered: whether a required gate that no model could pass with so few samples
            ends the run before it begins.
    """

    decide_on: DecideOn = DecideOn.INTERVAL
    on_undecided: OnUndecided = OnUndecided.UNDECIDED
    min_samples: int = 1
    confidence: float = 0.95
    refuse_underpowered: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalSpec:
    """A whole spec.

    Attributes:
        threshold: the decision threshold on a probability; of a segmentation None where the spec
            states none.
        places: where each key is written that is there, by its dotted name: `heldout.count`.
        custom: the metrics among `metrics` that the spec brings.
    """

    name: str
    task: Task
    source: PathRef
    sha256: str
    size: int
    roots: tuple[Path, ...]
    model: ModelSpec
    checkpoint: CheckpointSpec
    heldout: HeldOutSpec
    run: RunSpec
    threshold: float | None
    metrics: tuple[MetricRef, ...]
    gates: tuple[Gate, ...]
    places: Mapping[str, Location]
    more_heldout: Mapping[str, HeldOutSpec] = field(default_factory=dict)
    golden: GoldenSpec | None = None
    baseline: BaselineSpec | None = None
    custom: tuple[CustomMetric, ...] = ()
    decisions: Decisions = field(default_factory=Decisions)
    cost: CostSpec = CostSpec()
    control: bool = True
    held_out_ledger: PathRef | None = None

    @property
    def heldouts(self) -> Mapping[str, HeldOutSpec]:
        """Every held-out set by name, the main one first."""
        return {MAIN_HELDOUT: self.heldout, **self.more_heldout}


def without_baseline(spec: EvalSpec) -> EvalSpec:
    """The spec of an evaluation that is itself a baseline, and is compared with nothing."""
    absolute = tuple(gate for gate in spec.gates if gate.bound not in OF_DIFFERENCE)
    run = replace(spec.run, stop_early=False)  # it is compared on all samples
    return replace(spec, baseline=None, gates=absolute, run=run)
