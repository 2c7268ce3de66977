"""Whatever a run comes to becomes a report: also what is wrong, and that it was stopped.

Nothing here touches the environment, the network or the screen; the clock and the progress
display are passed in.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from model_eval import usercode
from model_eval.draft import Draft
from model_eval.errors import EvaluationError, Interrupted, ModelEvalError, StoppedError
from model_eval.ledger import Ledger
from model_eval.own_files import digest_of_own_files
from model_eval.progress import Progress
from model_eval.report import error_report
from model_eval.run.base_branch import BaseBranch
from model_eval.run.inputs import Inputs
from model_eval.run.parts import WHOLE, Parts
from model_eval.run.result import Evaluation
from model_eval.run.steps import evaluated
from model_eval.stop import Stop
from model_eval.store.place import Store
from model_eval.types import Report
from model_eval.wording import first_line, place_in, printable


def evaluate(
    path: Path,
    *,
    roots: Sequence[Path],
    progress: Progress,
    clock: Callable[[], float],
    base: BaseBranch | None = None,
    compare: bool = True,
    store: Store | None = None,
    parts: Parts = WHOLE,
    stop: Stop | None = None,
) -> Evaluation:
    """Runs the spec. Whatever is wrong becomes a report with the verdict `error`.

    Args:
        path: the spec.
        roots: folders that the spec's files must be inside of; the first is the repository.
        progress: shows how far the evaluation is.
        clock: seconds, monotonic.
        base: what the spec is compared with; None compares it with nothing.
        compare: whether the baseline is looked at; a baseline itself is evaluated without.
        store: where measurements of earlier runs are; None measures everything.
        parts: how it is shared out.
        stop: what asks the run to stop, which is heeded from here to the end of it; None is nothing.

    Returns:
        A report, and the ledger where every sample was evaluated.
    """
    draft = Draft(
        report=error_report(place_in(path, roots[0]), (), exit_code=4),
        started=clock(),
        stop=stop or Stop(),
    )
    if parts.several:
        digest_of_own_files()  # what a part says that it was run by: before more of it is imported
    try:
        draft.stop.heed()
        try:
            found = evaluated(
                Inputs(
                    path=path,
                    roots=tuple(roots),
                    progress=progress,
                    clock=clock,
                    base=base,
                    compare=compare,
                    store=store,
                    parts=parts,
                ),
                draft,
            )
        except StoppedError:
            raise
        except ModelEvalError as error:
            found = _refused(draft.report, error, draft.ledgers)
        except BaseException as error:
            if (blamed := _of_the_device(error) or usercode.blame(error)) is None:
                raise
            found = _refused(draft.report, blamed, draft.ledgers)
        draft.stop.end()
    except StoppedError as error:
        return _refused(draft.report, error)
    except BaseException:
        if draft.stop.reason is None:
            raise
        # Whatever else came of it: a run that was asked to stop is not judged.
        return _refused(draft.report, _stopped(draft, parts))
    return replace(found, keeping=tuple(draft.keeping))


def _of_the_device(error: BaseException) -> EvaluationError | None:
    """A kernel that fails says so later, where something waits for it; None where it is something else."""
    if not isinstance(error, getattr(sys.modules.get("torch"), "AcceleratorError", ())):
        return None
    return EvaluationError(
        f"the device failed: {printable(first_line(error))}",
        remedy="run with CUDA_LAUNCH_BLOCKING=1, which says where; an index that is out of range is the "
        "commonest cause",
    )


def _stopped(draft: Draft, parts: Parts) -> StoppedError:
    reason = draft.stop.reason or Interrupted
    team = parts.team
    if parts.shards is not None:
        when = "while the shards were being joined"
    elif not draft.expected:
        when = "before the samples were opened"
    else:
        own = "" if team is None else f" of rank {team.rank.index} of {team.rank.of}"
        when = f"after {draft.done} of {draft.expected} samples{own}"
    return StoppedError(
        f"{reason.what} {when}",
        remedy=reason.remedy
        if team is None
        else "torchrun stops all processes when one dies: look at what each of them printed",
    )


def _refused(
    known: Report, error: ModelEvalError, ledgers: Mapping[str, Ledger] | None = None
) -> Evaluation:
    report = replace(
        known,
        faults=error.faults,
        exit_code=error.exit_code,
        reason=error.faults[0].message.partition("\n")[0],
    )
    return Evaluation(report=report, ledgers=ledgers or {})


def keep(evaluation: Evaluation, *, stop: Stop, say: Callable[[str], None]) -> None:
    """Keeps for later runs what this one measured, once its result is saved: it changes nothing there.

    Args:
        evaluation: the result.
        stop: what asks to stop.
        say: is told where nothing is kept because of that.
    """
    if not evaluation.keeping:
        return
    try:
        stop.heed()
        for one in evaluation.keeping:
            one()
        stop.end()
    except Interrupted:
        say("the measurement is not kept: the run was stopped after it was judged")
