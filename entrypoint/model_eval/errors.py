"""Everything that can go wrong, each with one exit code and one remedy.

    ModelEvalError
     ├─ UsageError            2   usage            the command line is wrong
     ├─ SpecError             2   spec             the spec is wrong (all faults at once)
     ├─ CheckpointError       3   checkpoint       the file cannot be used
     │   └─ FitError          3   checkpoint-fit   it loads, but is not this model's
     ├─ HeldOutError          3   heldout          the held-out set cannot be used
     │   └─ LeakError         3   heldout-leak     it shares samples with training data
     ├─ BaselineError         3   baseline         what is compared with cannot be used
     ├─ PowerError            3   heldout-power    too few samples for a gate to pass
     ├─ PartsError            3   parts            shards are not the parts of one run
     ├─ UserCodeError         3   user-code        a factory, loader or transform failed
     ├─ DeviceError           3   device           the named device is not there
     ├─ EvaluationError       4   evaluation       the evaluation did not finish
     │   ├─ OutOfMemoryError  4   out-of-memory    a batch does not fit
     │   └─ StoppedError      4   evaluation       the run was asked to stop
     ├─ OutputError           4   output           the output folder or file cannot be written
     ├─ BaseSpecError         4   base-spec        the base branch's spec cannot be had
     ├─ ReportError           4   report           a report is missing, broken or forged
     └─ PublishError          0   publish          GitHub refused; never changes a verdict

Exit codes are documented in `docs/architecture.md`. `cli` catches these and prints; a warning of the publisher,
and what the child of `supervise` said, are caught where they arise.
"""

from typing import ClassVar

from model_eval.types import Fault, Location

BUG = "this is a bug in model-eval; please report it with the lines above\n"


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop: raised by our own signal handler, and by nothing else.

    A `KeyboardInterrupt` that is not one of these comes from the user's code.
    """

    what: ClassVar[str] = "the run was interrupted"
    remedy: ClassVar[str | None] = None


class DeadlineReached(Interrupted):
    """The time that the run was given is over."""

    what = "the deadline came"


class AlarmRang(Interrupted):
    """The signal of a deadline came, and there was none."""

    what = "an alarm (SIGALRM) that is no deadline's came"
    remedy = "look for signal.alarm and signal.setitimer in the code of the repository"


class ModelEvalError(Exception):
    """Says what is wrong, where, and what to do next.

    Args:
        message: what is wrong, in one line, naming the file or the value.
        remedy: what to do next; the class's own where none is given.
        location: the place in the spec that asked for it.
    """

    code: ClassVar[str]
    exit_code: ClassVar[int]
    default_remedy: ClassVar[str]

    def __init__(
        self, message: str, *, remedy: str | None = None, location: Location | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy
        self.location = location

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that this error reports; most report one."""
        return (
            Fault(code=self.code, message=self.message, remedy=self.remedy, location=self.location),
        )

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class UsageError(ModelEvalError):
    """The command line is wrong."""

    code = "usage"
    exit_code = 2
    default_remedy = "see `model-eval --help`"


class SpecError(ModelEvalError):
    """The spec is wrong; carries every fault found in it."""

    code = "spec"
    exit_code = 2
    default_remedy = "see docs/spec.md"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{len(faults)} fault(s) in the spec")
        self._faults = faults

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All faults, in the order of the file."""
        return self._faults


class CheckpointError(ModelEvalError):
    """The checkpoint file cannot be used."""

    code = "checkpoint"
    exit_code = 3
    default_remedy = "save the state dict again with torch.save or safetensors"


class FitError(CheckpointError):
    """The checkpoint loads, but it is not a checkpoint of this model."""

    code = "checkpoint-fit"
    default_remedy = "check model.factory, model.kwargs and checkpoint.state_key"


class HeldOutError(ModelEvalError):
    """The held-out set cannot be used."""

    code = "heldout"
    exit_code = 3
    default_remedy = "check the heldout section of the spec against the file"


class LeakError(HeldOutError):
    """The held-out set shares samples with data that it must be disjoint from."""

    code = "heldout-leak"
    default_remedy = "remove the shared samples from one of the two"


class BaselineError(ModelEvalError):
    """The baseline cannot be read or evaluated."""

    code = "baseline"
    exit_code = 3
    default_remedy = "name a checkpoint or a ledger.parquet that an earlier run left"


class PowerError(ModelEvalError):
    """A required gate could not pass on so few samples, however good the model."""

    code = "heldout-power"
    exit_code = 3
    default_remedy = (
        "add samples, ask for less, or write `decide_on: point`; "
        "`decisions: {on_underpowered: warn}` runs it anyway"
    )


class PartsError(ModelEvalError):
    """Shards are not the parts of one run."""

    code = "parts"
    exit_code = 3
    default_remedy = (
        "run every shard again, of one commit, with one version, on one kind of machine"
    )


class UserCodeError(ModelEvalError):
    """A factory, loader, transform or postprocess of the user's cannot be used."""

    code = "user-code"
    exit_code = 3
    default_remedy = "run the function by itself to see it fail"


class DeviceError(ModelEvalError):
    """The named device is not there."""

    code = "device"
    exit_code = 3
    default_remedy = "name a device that this runner has, or `device: auto`"


class EvaluationError(ModelEvalError):
    """The evaluation began and did not finish."""

    code = "evaluation"
    exit_code = 4
    default_remedy = "fix the model or the data and run again; nothing was judged"


class OutOfMemoryError(EvaluationError):
    """A batch does not fit on the device."""

    code = "out-of-memory"
    default_remedy = "lower run.batch_size, or use a machine with more memory"


class StoppedError(EvaluationError):
    """The run was asked to stop; says where it was."""

    default_remedy = "run it again, with more time"


class OutputError(ModelEvalError):
    """The output folder, or the file of the step's outputs, cannot be written."""

    code = "output"
    exit_code = 4
    default_remedy = "make room, or name another folder; without a report nothing is a pass"


class BaseSpecError(ModelEvalError):
    """Whether the base branch has the spec, or what is in it, cannot be found out."""

    code = "base-spec"
    exit_code = 4
    default_remedy = (
        "give the job `permissions: {contents: read}` and run it again; "
        "without the base branch's spec nothing is a pass"
    )


class ReportError(ModelEvalError):
    """A report is missing, broken or not one of ours."""

    code = "report"
    exit_code = 4
    default_remedy = "look at the log of the evaluation; without a report nothing is a pass"


class PublishError(ModelEvalError):
    """GitHub refused; the verdict stands and the summary has it."""

    code = "publish"
    exit_code = 0
    default_remedy = "the verdict and the job summary stand without the comment"
