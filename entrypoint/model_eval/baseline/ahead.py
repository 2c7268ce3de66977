"""What of a baseline is there before the run: looked at then, so that it is wrong at once, and the same at the end."""

from dataclasses import dataclass

from model_eval.baseline.revision import Started, commit_of
from model_eval.baseline.saved import opened, pinned
from model_eval.ledger import Ledger
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.types import FileInfo


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ahead:
    """A baseline as it is before the run.

    Attributes:
        wanted: what the spec names.
        ledger: a saved one; None where it is made by running a checkpoint.
        file: the ledger's.
        commit: that the ref of `git` is.
    """

    wanted: BaselineSpec
    ledger: Ledger | None = None
    file: FileInfo | None = None
    commit: str | None = None


def look_ahead(spec: EvalSpec, started: Started) -> Ahead | None:
    """Looks at the baseline that a spec names; None where it names none.

    Args:
        spec: the whole of it.
        started: how the run began.

    Raises:
        BaselineError: its ledger cannot be read, or the spec pins another; git does not find its commit.
    """
    wanted = spec.baseline
    if wanted is None:
        return None
    if wanted.ledger is not None:
        file = pinned(wanted.ledger, wanted)
        ledger = opened(wanted.ledger.path, wanted.location)
        return Ahead(wanted=wanted, ledger=ledger, file=file)
    if wanted.git is not None:
        return Ahead(wanted=wanted, commit=commit_of(spec.roots[0], wanted, started.environ))
    return Ahead(wanted=wanted)
