"""The values that the layers hand to one another: frozen, standard library only.

A `Report` is all that is known after a run. It is written as `report.json`, read back by
the publisher, and rendered; nothing else crosses from the evaluation to its readers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

MAIN_HELDOUT = "heldout"
"""What the held-out set is called that a spec describes under `heldout`."""

GOLDEN_HELDOUT = "golden"
"""What the set of golden cases is called."""

BOUNDS = {
    "min": "≥",
    "max": "≤",
    "max_gap": "≤",
    "max_drop": "≤",
    "max_rise": "≤",
    "max_relative_drop": "≤",
    "max_relative_rise": "≤",
    "min_gain": "≥",
    "max_gain": "≤",
}
"""Every bound of a gate, and on which side of the threshold its value passes."""

OF_DIFFERENCE = frozenset(BOUNDS) - {"min", "max", "max_gap"}
"""The bounds that are of the difference from the baseline."""


class Task(StrEnum):
    """What the model predicts, and so which columns its ledger has."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    MULTILABEL = "multilabel"
    SEGMENTATION = "segmentation"
    LANGUAGE_MODELING = "language_modeling"


class OutputKind(StrEnum):
    """What the numbers that come out of a classifier are."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"


class Severity(StrEnum):
    """Whether a gate can block: an advisory gate is shown and never blocks."""

    REQUIRED = "required"
    ADVISORY = "advisory"


class BatchSizeFrom(StrEnum):
    """Who chose the size of batches: the spec, a measurement, or the memory, which ended before.

    `PARTS` is neither: a run in parts has one size for all of them, which none can measure alone.
    """

    SPEC = "spec"
    MEASURED = "measured"
    MEMORY = "memory"
    PARTS = "parts"


class DecideOn(StrEnum):
    """What of the evidence is held against a threshold.

    `POINT` is the value. `LOWER_BOUND` is the end of its interval on the failing side: it passes or
    fails. `INTERVAL` is all of the interval: on the passing side it passes, on the failing side it
    fails, and with the threshold inside of it, it is undecided.
    """

    POINT = "point"
    LOWER_BOUND = "lower_bound"
    INTERVAL = "interval"


class OnUndecided(StrEnum):
    """What it means that an interval does not decide: no verdict, a failure, or a remark."""

    UNDECIDED = "undecided"
    FAIL = "fail"
    ADVISORY = "advisory"


class GateStatus(StrEnum):
    """The outcome of one gate. Only `PASS` is a pass; `UNDECIDED` always has a reason."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


class Verdict(StrEnum):
    """The answer to the pull request. `docs/architecture.md` has the exit codes."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A place in a text file; `line` and `column` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong: what, where, and what to do next."""

    code: str
    message: str
    remedy: str
    location: Location | None = None

    def __str__(self) -> str:
        place = f"{self.location}: " if self.location else ""
        # A message with a table in it has the remedy on a line of its own.
        return f"{place}{self.message}{chr(10) if chr(10) in self.message else '; '}{self.remedy}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRef:
    """A metric as a spec names it, with the class or the output it is restricted to.

    Attributes:
        params: what else the metric needs, by name in alphabetical order: `(("k", 3.0),)`.
    """

    name: str
    of_class: str | None = None
    of_output: str | None = None
    params: tuple[tuple[str, float], ...] = ()

    @property
    def label(self) -> str:
        """The name that people read: `f1[cat]`, `r2[height]`, `top_k_accuracy(k=3)`."""
        part = self.of_class if self.of_class is not None else self.of_output
        given = ", ".join(f"{name}={value:g}" for name, value in self.params)
        return f"{self.name}{f'({given})' if given else ''}{'' if part is None else f'[{part}]'}"

    def param(self, name: str) -> float:
        """The value of a parameter.

        Raises:
            KeyError: the metric has none of this name.
        """
        return dict(self.params)[name]


IDENTICAL = "identical"
"""The method of an interval of no width: the two checkpoints are the same file, and left the same numbers."""

SEQUENCE = "sequence"
"""The method of an interval that holds at every look, and so in a run that ended early."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where the value would be on all data of this kind, at a stated confidence.

    Attributes:
        low: finite.
        high: finite.
        confidence: of the two sides together, between 0 and 1.
        method: how it was found, as docs/statistics.md calls it.
    """

    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The value of a metric on a ledger, or the reason why it has none.

    Attributes:
        value: finite, or None where the metric is undefined.
        undefined: None where there is a value, else the reason, as a clause.
        n: how many samples the value rests on; of a cost how many timed calls, 0 where there are none.
        heldout: which held-out set it is of.
        slice: which of its samples, as people read it; None is all of them.
        interval: None where there is none.
        no_interval: where there is a value and no interval, the reason, as a clause.
    """

    metric: MetricRef
    value: float | None
    undefined: str | None
    n: int
    heldout: str = MAIN_HELDOUT
    slice: str | None = None
    interval: Interval | None = None
    no_interval: str | None = None

    @property
    def label(self) -> str:
        """The metric and what it is of: `accuracy`, `accuracy on hand=left (shifted)`."""
        return scoped(self.metric.label, heldout=self.heldout, part=self.slice)


def scoped(text: str, *, heldout: str, part: str | None) -> str:
    """A label with the samples that it is of, where these are not all of the main set."""
    on = "" if part is None else f" on {part}"
    return f"{text}{on}{'' if heldout == MAIN_HELDOUT else f' ({heldout})'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRow:
    """One class of a classifier: its one-against-rest metrics and its share of the set.

    `support` counts targets, `predicted` counts predictions, whatever they weigh. A metric is None where
    undefined.
    """

    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Samples whose predicted probability is in [low, high).

    Attributes:
        n: how many there are, whatever they weigh.
        confidence: the mean of these probabilities.
        accuracy: how often what they are of was the target.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfusionMatrix:
    """Counts of samples: `counts[i][j]` has target `labels[i]` and prediction `labels[j]`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceInfo:
    """A part of a held-out set.

    Attributes:
        family: what divides the set: `hand`, `hand & age`, or the name of a condition.
        label: which part it is, as people read it: `hand=left`; the name of a condition itself.
        n: how many samples are in it.
    """

    heldout: str
    family: str
    label: str
    n: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A metric of the checkpoint against the baseline's, on the same samples.

    Attributes:
        heldout: which held-out set it is of.
        slice: which of its samples; None is all of them.
        n: how many samples there are in both.
        candidate: the checkpoint's value.
        baseline: the baseline's.
        undefined: None where both have a value, else the reason, as a clause.
        difference: `candidate - baseline`, with its paired interval.
        relative: `(candidate - baseline) / |baseline|`, None where the baseline's value is 0.
        no_interval: where there is a difference and no interval, the reason, as a clause; where the
            relative one alone has none, the reason for that.
    """

    metric: MetricRef
    heldout: str
    slice: str | None
    n: int
    candidate: float | None
    baseline: float | None
    undefined: str | None
    difference: float | None
    interval: Interval | None
    relative: float | None
    relative_interval: Interval | None
    no_interval: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FileInfo:
    """A file or folder that went into a verdict. `sha256` of a folder covers names and contents."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Flips:
    """The samples that only one of two classifiers has right.

    Attributes:
        gained: how many the checkpoint has right and the baseline had wrong.
        lost: how many it has wrong and the baseline had right.
        p_value: McNemar's exact two-sided test that both are equally frequent.
        gained_ids: the first of them.
        lost_ids: the first of them.
    """

    gained: int
    lost: int
    p_value: float
    gained_ids: tuple[str, ...]
    lost_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineInfo:
    """What the checkpoint was compared with.

    Attributes:
        source: as people name it: the path of a checkpoint or ledger, or a git ref.
        kind: `checkpoint`, `ledger` or `git`.
        commit: what the git ref was when it was evaluated; None for the other kinds.
        files: the checkpoint's or the ledger's.
        refused: why its samples are not those of this run, as a clause; None where they are.
        identical: whether it is the same checkpoint.
    """

    source: str
    kind: str
    files: tuple[FileInfo, ...]
    refused: str | None
    identical: bool
    flips: Flips | None
    commit: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How far the slices of a family are apart: the highest value minus the lowest.

    Attributes:
        highest: the slice with the highest value.
        lowest: the slice with the lowest value.
        undefined: None where there is a value, else the reason, as a clause.
        no_interval: where there is a value and no interval, the reason, as a clause.
    """

    metric: MetricRef
    heldout: str
    family: str
    n: int
    value: float | None
    undefined: str | None
    highest: str | None
    lowest: str | None
    interval: Interval | None
    no_interval: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """One bound on one metric. The threshold itself passes.

    Attributes:
        bound: `min` and `max` are of the metric itself, `max_gap` of its slices, the others of the
            difference from the baseline; `BOUNDS` has them all.
        heldout: the held-out set that it is of.
        slice: the part of the set that it is of; None is all of it.
        slices: the family of slices each of which it is of.
        decide_on: what of the evidence is held against the threshold.
        on_undecided: what an interval that holds the threshold means.
        min_samples: with fewer samples it is undecided.
        higher_is_better: in which direction a difference from the baseline is a gain.
    """

    metric: MetricRef
    bound: str
    threshold: float
    severity: Severity
    location: Location | None
    heldout: str = MAIN_HELDOUT
    slice: str | None = None
    slices: str | None = None
    decide_on: DecideOn = DecideOn.POINT
    on_undecided: OnUndecided = OnUndecided.UNDECIDED
    min_samples: int = 1
    higher_is_better: bool = True

    @property
    def label(self) -> str:
        """In a few words: `accuracy`, `accuracy max_drop`, `recall[cat] on hand=left (shifted)`."""
        metric = self.metric.label
        what = metric if self.bound in {"min", "max"} else f"{metric} {self.bound}"
        part = self.slice if self.slices is None else f"each {self.slices}"
        return scoped(what, heldout=self.heldout, part=part)


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult(Gate):
    """One gate, judged.

    Attributes:
        value: what is held against the threshold: of a worst slice its value, of `max_drop` the drop.
        interval: of that value; None where there is none.
        margin: distance of the value to the threshold in its unit, positive on the passing side.
        n: how many samples it rests on.
        worst: of several slices, the one that decided.
        flip: the probability that the value of another held-out set of this size would be on the
            other side of the threshold; None where there is no interval.
        blocks: whether it keeps the verdict from being a pass.
        reason: one sentence; for an undecided gate, why.
    """

    status: GateStatus
    value: float | None
    interval: Interval | None
    margin: float | None
    n: int
    worst: str | None = None
    flip: float | None = None
    blocks: bool
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Loosening:
    """One thing that a pull request's spec asks less of than the base branch's.

    Attributes:
        what: a gate's metric and key (`gate accuracy: min`), or a key of the spec.
        base: the base branch's value as text; None where it has none.
        head: the pull request's.
        reason: one sentence.
        location: in the pull request's spec; None where nothing is left to point at.
    """

    what: str
    base: str | None
    head: str | None
    reason: str
    location: Location | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """The proof that every held-out sample was counted once.

    `expected` is what the held-out set says it has, or how many a run had seen when it ended early, `rows` what the ledger has, `distinct` how
    many different sample ids those rows have, `finite` how many rows have finite outputs.
    """

    expected: int
    rows: int
    distinct: int
    finite: int

    @property
    def proved(self) -> bool:
        """True when there is a sample and each was counted exactly once."""
        return 0 < self.expected == self.rows == self.distinct


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """A run that ended before its last sample, because what it had seen decided its gates.

    Attributes:
        samples: how many were evaluated: the first ones of a random order.
        of: how many the main held-out set has.
    """

    samples: int
    of: int


def sha256_of_digests(digests: Sequence[str]) -> str:
    """One digest of several in their order; a single one is itself."""
    return digests[0] if len(digests) == 1 else sha256(",".join(digests).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """What was loaded, and how much of the model it filled.

    Attributes:
        files: every file read (shards and their index, too).
        format: `torch-zip`, `torch-legacy`, `safetensors` or `safetensors-sharded`.
        state_key: the path to the state dict inside the file; None where it is the file itself.
        stripped_prefix: the wrapper's prefix that was removed from the keys, or "".
        parameters: elements in the model's parameters.
        parameters_from_file: how many of these were set by the checkpoint.
        buffers_from_file: elements of buffers that were set by the checkpoint.
        dtypes: dtype → tensors in the file.
        casts: `float16→float32` → tensors that were converted to the model's dtype.
        pinned: whether the spec's sha256 was checked.
    """

    files: tuple[FileInfo, ...]
    format: str
    state_key: str | None
    stripped_prefix: str
    tensors: int
    parameters: int
    parameters_from_file: int
    buffers_from_file: int
    dtypes: dict[str, int]
    casts: dict[str, int]
    built_on_meta: bool
    pinned: bool

    @property
    def digest(self) -> str:
        """One digest of all files: the file's own where there is one."""
        return sha256_of_digests([file.sha256 for file in self.files])


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutInfo:
    """The held-out set that was used. `sha256` covers its bytes, or the samples of a loader."""

    source: str
    format: str
    sha256: str
    pinned: bool
    disjoint_from: tuple[FileInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerLine:
    """What so many samples can decide of a gate, known before the model is run.

    Attributes:
        decidable: False where no result could pass the gate.
        text: which values pass and fail, as a clause.
    """

    gate: str
    n: int
    decidable: bool
    text: str
    location: Location | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupInfo:
    """How often a held-out set was looked at before, by the file that counts it.

    Attributes:
        path: the file.
        looks: how many runs on this set it has, this one not among them.
        checkpoints: how many different checkpoints these judged, this one not among them.
    """

    path: str
    looks: int
    checkpoints: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SetInfo:
    """A further held-out set, or the golden cases, and the proof that it was counted."""

    name: str
    heldout: HeldOutInfo
    completion: Completion


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceInfo:
    """The device that ran the model. `memory` is in bytes, None where it is not known."""

    requested: str
    used: str
    name: str
    memory: int | None
    runtime: str | None
    driver: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What the numbers depend on beside the model and the data."""

    model_eval: str
    python: str
    torch: str
    platform: str
    threads: int
    device: DeviceInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """How the model was run.

    Attributes:
        batch_size: samples a batch; None where the run did not come so far as to measure it.
        batch_size_from: who chose it.
        memory_format: of images and of the weights that they meet: `contiguous` or `channels_last`.
        compiled: whether `torch.compile`d code ran; None where the spec does not ask for it.
        stop_early: whether it could end as soon as every required gate was decided.
    """

    precision: str
    batch_size: int | None
    seed: int
    decision_threshold: float | None
    batch_size_from: BatchSizeFrom = BatchSizeFrom.SPEC
    memory_format: str = "contiguous"
    compiled: bool | None = None
    stop_early: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PartInfo:
    """The samples [start, stop) of a held-out set, which one shard evaluated.

    Attributes:
        heldout: the name of the set.
        of: how many samples the set has.
        like_probabilities: whether every finite output looks like a probability, so that only all
            parts together tell whether the spec calls it something else.
        sha256: of the ledger's file; None where there are no samples.
        samples: the digest of what a loader gave; None of files, whose own digest is in the report,
            and where there are no samples.
        inputs: of each input of the model its column, its dtype and its shape per sample.
        outputs: their dtype and their shape per sample; empty of golden cases, which are in one shard.
    """

    heldout: str
    start: int
    stop: int
    of: int
    like_probabilities: bool = False
    sha256: str | None = None
    samples: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One of several runs that share out the samples of a spec; nothing is judged in it.

    Attributes:
        index: which one, counting from 1.
        of: how many there are.
        grid: ranges begin at multiples of this, the size of batches where memory allows it.
        code: the digest of the files that the spec names as code.
        program: the digest of model-eval's own files.
        parts: what it evaluated of each held-out set, and of the golden cases.
    """

    index: int
    of: int
    grid: int
    code: str
    program: str
    parts: tuple[PartInfo, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Wall-clock seconds."""

    load: float
    evaluate: float
    total: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CostInfo:
    """How what a prediction costs was measured. Numbers of a shared machine are not repeatable.

    Attributes:
        batch_size: samples a timed call.
        warmup: calls before the first timed one.
        runs: timed calls.
        seconds: of all timed calls together; None where none was timed to its end.
        skipped: why nothing was timed, as a clause; None where it was.
    """

    batch_size: int
    warmup: int
    runs: int
    seconds: float | None
    skipped: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseMetric:
    """How much a metric of a few samples differs between ways of running them.

    `difference` is the largest, None where the metric is defined in some of the ways only.
    """

    metric: MetricRef
    difference: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseInfo:
    """How far the outputs for the same inputs hang on how the model is run.

    Each difference is the largest absolute one between two outputs of one sample. It is None where
    it was not measured or is not finite; `skipped` says why.

    Attributes:
        samples: how many samples were run in each way; 0 where none could be.
        largest_output: the largest absolute finite output, to compare the differences with.
        repeat_difference: in the same batches twice.
        batch_difference: in smaller batches, down to single samples.
        device_difference: on the CPU and on the accelerator.
        metrics: the gated metrics that these samples define.
        skipped: which ways were left out, and why, a clause each.
    """

    samples: int
    largest_output: float | None = None
    repeat_difference: float | None = None
    batch_difference: float | None = None
    device_difference: float | None = None
    metrics: tuple[NoiseMetric, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlMetric:
    """A metric of the checkpoint and of an untrained model on the same samples.

    Attributes:
        value: the untrained model's; None where undefined.
        checkpoint_value: the checkpoint's; None where undefined.
        standard_error: of the difference of the two; None where it cannot be had.
    """

    metric: MetricRef
    value: float | None
    checkpoint_value: float | None
    standard_error: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlTrial:
    """One untrained model: the seed of its weights, and the metrics that were compared."""

    seed: int
    metrics: tuple[ControlMetric, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlInfo:
    """The same architecture with fresh weights, which must do worse than the checkpoint.

    Attributes:
        n: how many held-out samples both were judged on; 0 where nothing was judged.
        of: how many the set has.
        trials: the untrained models: three, or two that agree.
        worse: whether two of them are clearly worse than the checkpoint; False where two are no
            worse, so that nothing passes; None where that is open.
        skipped: where it is open, why, as a clause.
    """

    n: int
    of: int
    trials: tuple[ControlTrial, ...]
    worse: bool | None
    skipped: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReusedInfo:
    """What was not measured in this run: an earlier one did, and nothing it depends on has changed.

    Attributes:
        checkpoint: the key of the checkpoint's ledgers in the store; None where they were measured.
        baseline: the same of the baseline's checkpoint.
    """

    checkpoint: str | None
    baseline: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is known after a run. What was not reached is None or empty.

    Attributes:
        reason: the verdict's one-sentence explanation.
        faults: what was wrong, when the verdict is `error`; each with its place.
        notes: things a reader should know that do not change the verdict.
        loosened: what the spec asks less of than the base branch's; fails the run unless allowed.
        loosening_allowed: whether who runs this (never the spec) has allowed it.
        base_gates: gates of the base branch that the spec does not have as they are, judged on the
            same samples; they are required as much as the spec's own unless loosening is allowed.
        cost: how the costs among the estimates were measured; None where none needs timing.
        noise: how far the numbers hang on how the model is run.
        control: what untrained models reach; None where the spec turns it off.
        shard: which part of a run this is, which was not judged; None of a whole run.
        stopped: that it ended early, so that all else is of fewer samples than the set has; None where
            it did not.
        reused: what an earlier run measured; None where this one measured everything.
    """

    schema_version: int
    name: str
    verdict: Verdict
    exit_code: int
    reason: str
    model_eval: str
    spec: FileInfo | None = None
    task: Task | None = None
    checkpoint: CheckpointInfo | None = None
    heldout: HeldOutInfo | None = None
    environment: Environment | None = None
    run: RunSettings | None = None
    completion: Completion | None = None
    estimates: tuple[Estimate, ...] = ()
    slices: tuple[SliceInfo, ...] = ()
    gaps: tuple[Gap, ...] = ()
    baseline: BaselineInfo | None = None
    comparisons: tuple[Comparison, ...] = ()
    more_heldout: tuple[SetInfo, ...] = ()
    power: tuple[PowerLine, ...] = ()
    lookups: LookupInfo | None = None
    classes: tuple[ClassRow, ...] = ()
    confusion_matrix: ConfusionMatrix | None = None
    calibration: tuple[ReliabilityBin, ...] = ()
    gates: tuple[GateResult, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    timings: Timings | None = None
    loosened: tuple[Loosening, ...] = ()
    loosening_allowed: bool = False
    base_gates: tuple[GateResult, ...] = ()
    cost: CostInfo | None = None
    noise: NoiseInfo | None = None
    control: ControlInfo | None = None
    shard: ShardInfo | None = None
    stopped: Stopped | None = None
    reused: ReusedInfo | None = None
