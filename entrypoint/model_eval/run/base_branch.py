"""The branch that a pull request goes into, and what the spec asks less of than its own version there."""

from dataclasses import dataclass
from pathlib import Path

from model_eval.draft import Draft
from model_eval.errors import SpecError
from model_eval.loosening import loosenings
from model_eval.spec import load_base_spec
from model_eval.spec.eval_spec import EvalSpec
from model_eval.spec.source import read
from model_eval.types import Fault
from model_eval.wording import count, printable_path

_NO_BASE_SPEC = "the base branch has no such spec, so nothing says what this one may not loosen"
_WRONG_BASE_SPEC = "the base branch's spec is wrong, so there is nothing to hold this one against"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseBranch:
    """The branch that a pull request goes into.

    Attributes:
        spec: its version of the spec, in a file of any place; None where it has none.
        allow_loosening: whether the spec may ask for less than that.
    """

    spec: Path | None
    allow_loosening: bool


def compared(spec: EvalSpec, path: Path, base: BaseBranch, draft: Draft) -> EvalSpec | None:
    """The base branch's spec, after noting what this one asks less of; None where there is none to go by.

    Args:
        spec: of the pull request.
        path: its file.
        base: the base branch.
        draft: learns of it.

    Raises:
        SpecError: it cannot be read, or is wrong and nobody has allowed to go on without it.
    """
    draft.learn(loosening_allowed=base.allow_loosening)
    if base.spec is None:
        draft.note(_NO_BASE_SPEC)
        return None
    data = read(base.spec, display=printable_path(base.spec))
    try:
        before = load_base_spec(data, at=path, roots=spec.roots)
    except SpecError as error:
        if base.allow_loosening:  # or nobody could merge what corrects it
            draft.note(_WRONG_BASE_SPEC)
            return None
        first = Fault(
            code=SpecError.code,
            message=f"{_WRONG_BASE_SPEC}: {count(len(error.faults), 'fault')} below",
            remedy="correct it in the base branch, or allow loosening for this pull request",
        )
        raise SpecError((first, *error.faults)) from error
    draft.learn(loosened=loosenings(before, spec))
    return before
