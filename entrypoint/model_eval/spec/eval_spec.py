"""The spec after validation: frozen, complete, with every default filled in.

Paths are absolute here; `display` strings are relative to the root for messages and reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_eval.types import Location, MetricRef, OutputKind, Severity, Task


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
class HeldOutSpec:
    """The held-out set: where it is and which column is what.

    Exactly one of `path`, `columns_from` (column name → `.npy` file) and `loader` is set.

    Attributes:
        format: parquet, csv, npz, npy, pt, safetensors, image_folder or loader.
        args: positional arguments of the model, `kwargs` its keyword arguments.
        targets: one column, or several for a regression with several outputs.
        classes: class names in the order of the model's outputs, or None.
        count: how many samples there must be, where the spec declares it.
        transform: `f(*args, **kwargs)` on a batch of inputs, on the model's side.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """How the model is run. `precision` is fp32, tf32, bf16 or fp16."""

    device: str
    precision: str
    batch_size: int
    seed: int
    device_location: Location


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
class GateSpec:
    """One bound on one metric. `bound` is `min` or `max`; the threshold itself passes."""

    metric: MetricRef
    bound: str
    threshold: float
    severity: Severity
    location: Location


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalSpec:
    """A whole spec.

    Attributes:
        threshold: the binary decision threshold on the probability.
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
    gates: tuple[GateSpec, ...]
    custom: tuple[CustomMetric, ...] = ()
