"""The main job from end to end: a spec's path in, a report and a ledger out.

Nothing here touches the environment, the network or the screen; the clock and the progress
display are passed in.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_eval import ledger, lookups, output, usercode
from model_eval.baseline import EvaluateCheckpoint, Started, find_baseline, saved_ledger
from model_eval.brought import bring_metrics
from model_eval.draft import Draft
from model_eval.early_stop import EarlyWatch, early_of, first_end
from model_eval.errors import (
    EvaluationError,
    Interrupted,
    ModelEvalError,
    OutputError,
    SpecError,
    StoppedError,
)
from model_eval.imports import uncollected
from model_eval.joining import Joined, join, require_same, require_same_code, sealed
from model_eval.judgement import Evaluated, judged, require_power
from model_eval.ledger import Ledger
from model_eval.loosening import fails_less_often, held_gates, loosenings
from model_eval.own_files import digest_of_own_files
from model_eval.parts import Shard
from model_eval.power import power_of
from model_eval.progress import Progress
from model_eval.report import error_report
from model_eval.spec import load_base_spec, load_spec, without_baseline
from model_eval.spec.catalog import CLASSIFICATION
from model_eval.spec.code_digest import digest_of_code
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.spec.source import read
from model_eval.stats import right_by_id
from model_eval.stop import Stop
from model_eval.store.place import Store
from model_eval.store.recall import recalled
from model_eval.store.reuse import Reuse, begin
from model_eval.team import Team
from model_eval.types import (
    GOLDEN_HELDOUT,
    MAIN_HELDOUT,
    BatchSizeFrom,
    CheckpointInfo,
    Fault,
    FileInfo,
    Report,
    ReusedInfo,
    RunSettings,
    Timings,
)
from model_eval.wording import count, first_line, place_in, printable, printable_path

if TYPE_CHECKING:
    from model_eval.session import Session


_NOT_EARLY = (
    "the run did not end early: a gate of the base branch can be decided on all samples alone"
)
_NOT_EARLY_SO_MANY = (
    "the run did not end early: more gates share its level than in the base branch, where one does not block "
    "while it is undecided"
)
_NOT_EARLY_SO_FEW = "the run did not end early: no run does before {} samples, and there are {}"
_NOT_EARLY_IN_PARTS = "the run did not end early: that is decided in one process alone"
_NOT_KEPT_IN_PARTS = (
    "a run in parts is measured each time; of the store it uses the ledgers of `baseline.git` alone"
)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """How a run is shared out; at most one of the first three is there, and without any it is not.

    Attributes:
        shard: which part of the samples is run, which is not judged then.
        shards: folders with the ledgers of all parts, which are joined in place of a run.
        team: the processes that share it out; only the first one's report is judged.
        output: the folder that the result is saved in, and in which the ledgers of these processes are
            kept until they are joined; None for the system's.
    """

    shard: Shard | None = None
    shards: Sequence[Path] | None = None
    team: Team | None = None
    output: Path | None = None

    @property
    def several(self) -> bool:
        """Whether it is shared out."""
        return any(one is not None for one in (self.shard, self.shards, self.team))


_WHOLE = Parts()


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What a run leaves: always a report; the ledgers, by held-out set, where all samples were measured.

    Attributes:
        keeping: what is left to be done for later runs; see `keep`.
    """

    report: Report
    ledgers: Mapping[str, Ledger]
    keeping: tuple[Callable[[], None], ...] = ()


def evaluate(
    path: Path,
    *,
    roots: Sequence[Path],
    progress: Progress,
    clock: Callable[[], float],
    base: BaseBranch | None = None,
    compare: bool = True,
    store: Store | None = None,
    parts: Parts = _WHOLE,
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
    keeping: list[Callable[[], None]] = []
    if parts.several:
        digest_of_own_files()  # what a part says that it was run by: before more of it is imported
    try:
        draft.stop.heed()
        try:
            found = _evaluate(
                path,
                roots=roots,
                progress=progress,
                clock=clock,
                base=base,
                draft=draft,
                compare=compare,
                store=store,
                parts=parts,
                keeping=keeping,
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
    return replace(found, keeping=tuple(keeping))


def _of_the_device(error: BaseException) -> EvaluationError | None:
    """A kernel that fails says so later, where something waits for it; None where it is something else."""
    if not isinstance(error, getattr(sys.modules.get("torch"), "AcceleratorError", ())):
        return None
    return EvaluationError(
        f"the device failed: {printable(first_line(error))}",
        remedy="run with CUDA_LAUNCH_BLOCKING=1, which says where; an index that is out of range is the "
        "commonest cause",
    )


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


def save(evaluation: Evaluation, folder: Path) -> None:
    """Writes the ledger, the summary and, last, the report, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, is full, or has somebody else's file of such a name.
    """
    report = evaluation.report
    for name, rows in evaluation.ledgers.items():
        file = output.LEDGER if name == MAIN_HELDOUT else output.ledger_name(name)
        if name != MAIN_HELDOUT:
            output.require_free(folder / file)
        with output.whole(folder / file) as part:
            ledger.save(rows, part)
            if report.shard is not None:
                report = sealed(report, name, part)
    output.save_report(report, folder)


def _evaluate(
    path: Path,
    *,
    roots: Sequence[Path],
    progress: Progress,
    clock: Callable[[], float],
    base: BaseBranch | None,
    draft: Draft,
    compare: bool,
    store: Store | None,
    parts: Parts,
    keeping: list[Callable[[], None]],
) -> Evaluation:
    """The evaluation; `keeping` is given what is to be done for later runs when it is there."""
    started = Started.now()
    spec = load_spec(path, roots=roots)
    usercode.compile_anew(spec.roots)
    spec = spec if compare else without_baseline(spec)
    draft.learn(
        name=spec.name,
        task=spec.task,
        spec=FileInfo(path=spec.source.display, sha256=spec.sha256, size=spec.size),
        run=RunSettings(
            precision=spec.run.precision,
            batch_size=spec.run.batch_size,
            batch_size_from=BatchSizeFrom.SPEC
            if spec.run.batch_size is not None
            else BatchSizeFrom.MEASURED,
            memory_format=spec.run.memory_format,
            seed=spec.run.seed,
            decision_threshold=spec.threshold,
            stop_early=spec.run.stop_early,
        ),
    )
    _require_free(spec, parts)
    base_spec = _compared(spec, path, base, draft) if base is not None else None
    team = parts.team
    reuse = begin(spec, store) if store is not None and not parts.several else None
    if store is not None and parts.several:
        store.say(_NOT_KEPT_IN_PARTS)
    found = reuse.find() if reuse is not None else None
    joined = None if parts.shards is None else _joined(parts.shards, spec, draft)

    @cache
    def session() -> "Session":
        # torch comes in here: a wrong spec, and one that was measured before, is answered without it.
        with uncollected():
            from model_eval.session import Session

        if team is not None:
            team.begin()
        # The environment of what was measured is not that of a baseline which is measured now.
        known = draft if found is None else replace(draft)
        return Session(
            spec,
            known,
            progress=progress if team is None else team.listening(progress),
            clock=clock,
            in_parts=parts.several,
            local=0 if team is None else team.rank.local,
        )

    expected = (
        found.measured.expected
        if found is not None
        else {name: one.expected for name, one in session().sets.heldouts.items()}
    )
    brought = bring_metrics(spec)  # what cannot be is said before the model runs
    watch = None
    if spec.run.stop_early:
        watch = _watch(
            spec, base_spec, base, expected=expected[MAIN_HELDOUT], draft=draft, parts=parts
        )
    power = power_of(spec, expected, early=watch is not None)
    draft.learn(power=power)
    if spec.decisions.refuse_underpowered:
        require_power(spec, power)
    shard = parts.shard if team is None else team.shard
    if shard is not None:
        known, ledgers = session().measure_part(shard)
        part = Evaluation(report=replace(known, timings=_timings(draft, clock())), ledgers=ledgers)
        if team is None:
            return part
        # What this process has is not what the run has, should that not come to its end.
        draft.learn(completion=None, more_heldout=())
        joined = _gathered(part, team, parts.output)
        if joined is None:
            return replace(part, ledgers={})
    if found is not None:
        measured = recalled(found, spec, draft, clock)
    else:
        before = len(draft.report.notes)
        measured = session().measure(watch, joined)
        if reuse is not None:
            notes = measured.report.notes[before:]
            keeping.append(partial(reuse.keep, measured, notes=notes))
    draft.ledgers = measured.ledgers
    _look_up(spec, draft)
    baselines, baseline = find_baseline(
        spec,
        measured.ledgers,
        evaluate=partial(
            _baseline, reuse, draft, keeping, lambda wanted: session().baseline(wanted)
        ),
        started=started,
        ended=expected[MAIN_HELDOUT] if watch is not None and watch.ended else None,
        reused=partial(_learn_reused, draft),
        cache=store.arguments if store is not None else ("--no-cache",),
    )
    report = judged(
        draft.report,
        spec,
        Evaluated(
            measured=measured,
            baselines=baselines,
            baseline=baseline,
            brought=brought,
            early=None if watch is None else replace(watch.early, ended=watch.ended),
        ),
        base=base_spec,
    )
    report = replace(report, timings=_timings(draft, clock()))
    return Evaluation(report=report, ledgers=measured.ledgers)


def _require_free(spec: EvalSpec, parts: Parts) -> None:
    """Refuses now what `save` would refuse after the evaluation."""
    if parts.output is None:
        return
    golden = [GOLDEN_HELDOUT] if spec.golden is not None and parts.shard is not None else []
    for name in (*spec.more_heldout, *golden):
        output.require_free(parts.output / output.ledger_name(name))


def _joined(shards: Sequence[Path], spec: EvalSpec, draft: Draft) -> Joined:
    """The shards' ledgers, which must be of this spec."""
    joined = join(shards)
    require_same(draft.report, joined.report, who="this run")
    require_same_code(digest_of_code(spec), joined.report, who="this run")
    return joined


def _gathered(part: Evaluation, team: Team, where: Path | None) -> Joined | None:
    """The ledgers of all processes, in the first of them; None in the others.

    Raises:
        OutputError: there is no room for them.
    """
    try:
        with output.scratch(where) as folder:
            own = folder / "own"
            own.mkdir()
            save(part, own)
            folders = team.gather(own, folder)
            if folders is None:
                return None
            joined = join(folders, noun="rank")
    except OSError as error:
        raise OutputError(
            f"the ledgers of the processes cannot be kept in `{where or tempfile.gettempdir()}`: "
            f"{error.strerror or error}",
        ) from error
    return joined


def _watch(
    spec: EvalSpec,
    base_spec: EvalSpec | None,
    base: BaseBranch | None,
    *,
    expected: int,
    draft: Draft,
    parts: Parts,
) -> EarlyWatch | None:
    """What ends a run early that asks for it; None where it goes to its end, which the report says."""
    if parts.several:
        draft.note(_NOT_EARLY_IN_PARTS)
        return None
    if base and base.allow_loosening:
        base_spec = None
    held = () if base_spec is None else held_gates(base_spec, spec)
    early = early_of(spec, held, expected)
    if early is None:
        least = first_end(expected)
        few = _NOT_EARLY_SO_FEW.format(least, expected)
        draft.note(few if expected <= least else _NOT_EARLY)
        return None
    if base_spec is not None and fails_less_often(base_spec, early.gates):
        draft.note(_NOT_EARLY_SO_MANY)
        return None
    saved = None if spec.baseline is None else saved_ledger(spec.baseline)
    if saved is None or spec.task not in CLASSIFICATION or saved.task is not spec.task:
        return EarlyWatch(early)
    if len(saved) != expected:  # what ended early itself has the same samples by luck alone
        return EarlyWatch(early)
    return EarlyWatch(early, before=right_by_id(saved))


def _baseline(
    reuse: Reuse | None,
    draft: Draft,
    keeping: list[Callable[[], None]],
    evaluate: EvaluateCheckpoint,
    wanted: BaselineSpec,
) -> tuple[Mapping[str, Ledger], CheckpointInfo]:
    """The ledgers of a baseline's checkpoint, from the store or else by running it."""
    if reuse is None:
        return evaluate(wanted)
    found = reuse.find_baseline(wanted)
    if found is not None and (checkpoint := found.measured.report.checkpoint) is not None:
        _learn_reused(draft, found.key)
        return found.measured.ledgers, checkpoint
    ledgers, checkpoint = evaluate(wanted)
    keeping.append(partial(reuse.keep_baseline, wanted, ledgers, checkpoint, draft.report))
    return ledgers, checkpoint


def _learn_reused(draft: Draft, key: str) -> None:
    """The baseline's ledgers are of this entry."""
    before = draft.report.reused or ReusedInfo(checkpoint=None, baseline=None)
    draft.learn(reused=replace(before, baseline=key))


def _timings(draft: Draft, now: float) -> Timings:
    ready = now if draft.ready is None else draft.ready
    evaluated = ready if draft.evaluated is None else draft.evaluated
    return Timings(
        load=ready - draft.started, evaluate=evaluated - ready, total=now - draft.started
    )


def _look_up(spec: EvalSpec, draft: Draft) -> None:
    """Notes how often the held-out set was looked at, where the spec has it counted."""
    heldout, checkpoint = draft.report.heldout, draft.report.checkpoint
    if spec.held_out_ledger is None or heldout is None or checkpoint is None:
        return
    known = lookups.looked_up(
        spec.held_out_ledger, heldout=heldout.sha256, checkpoint=lookups.digest_of(checkpoint)
    )
    draft.learn(lookups=known)
    draft.note(lookups.claim(known, spec.decisions.confidence))


def _compared(spec: EvalSpec, path: Path, base: BaseBranch, draft: Draft) -> EvalSpec | None:
    """The base branch's spec, after noting what this one asks less of.

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
