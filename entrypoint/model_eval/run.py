"""The main job from end to end: a spec's path in, a report and a ledger out.

Nothing here touches the environment, the network or the screen; the clock and the progress
display are passed in.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from model_eval import __version__, ledger, lookups, metrics, output, usercode
from model_eval.baseline import find_baseline
from model_eval.errors import EvaluationError, Interrupted, ModelEvalError, SpecError
from model_eval.imports import uncollected
from model_eval.judgement import Evaluated, completion_of, judged, require_power
from model_eval.ledger import Ledger
from model_eval.loosening import loosenings
from model_eval.power import power_of
from model_eval.report import error_report
from model_eval.spec import load_base_spec, load_spec, without_baseline
from model_eval.spec.custom_metrics import TORCHMETRICS
from model_eval.spec.eval_spec import CodeRef, CustomMetric, EvalSpec
from model_eval.spec.source import read
from model_eval.types import (
    GOLDEN_HELDOUT,
    MAIN_HELDOUT,
    DeviceInfo,
    Environment,
    Fault,
    FileInfo,
    Report,
    RunSettings,
    SetInfo,
    Task,
    Timings,
)
from model_eval.wording import count, place_in, printable_path

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the number of samples, a context whose value is called with each batch's size."""

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
class Evaluation:
    """What a run leaves: always a report; the ledgers, by held-out set, where it finished."""

    report: Report
    ledgers: Mapping[str, Ledger]


def evaluate(
    path: Path,
    *,
    roots: Sequence[Path],
    progress: Progress,
    clock: Callable[[], float],
    base: BaseBranch | None = None,
    compare: bool = True,
) -> Evaluation:
    """Runs the spec. Whatever is wrong becomes a report with the verdict `error`.

    Args:
        path: the spec.
        roots: folders that the spec's files must be inside of; the first is the repository.
        progress: shows how far the evaluation is.
        clock: seconds, monotonic.
        base: what the spec is compared with; None compares it with nothing.
        compare: whether the baseline is looked at; a baseline itself is evaluated without.

    Returns:
        A report, and the ledger where every sample was evaluated.
    """
    draft = _Draft(report=error_report(place_in(path, roots[0]), (), exit_code=4), started=clock())
    try:
        return _evaluate(
            path,
            roots=roots,
            progress=progress,
            clock=clock,
            base=base,
            draft=draft,
            compare=compare,
        )
    except ModelEvalError as error:
        return _refused(draft.report, error)
    except Interrupted:
        stopped = EvaluationError(
            f"the run was interrupted after {draft.done} of {draft.expected} samples",
            remedy="run it again, with more time",
        )
        return _refused(draft.report, stopped)
    except BaseException as error:
        if (blamed := usercode.blame(error)) is None:
            raise
        return _refused(draft.report, blamed)


def _refused(known: Report, error: ModelEvalError) -> Evaluation:
    report = replace(
        known,
        faults=error.faults,
        exit_code=error.exit_code,
        reason=error.faults[0].message.partition("\n")[0],
    )
    return Evaluation(report=report, ledgers={})


def save(evaluation: Evaluation, folder: Path) -> None:
    """Writes the ledger, the summary and, last, the report, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, or is full.
    """
    for name, rows in evaluation.ledgers.items():
        file = output.LEDGER if name == MAIN_HELDOUT else output.ledger_name(name)
        with output.whole(folder / file) as part:
            ledger.save(rows, part)
    output.save_report(evaluation.report, folder)


@dataclass(slots=True)
class _Draft:
    """What is known so far, for the report of a run that does not reach its end."""

    report: Report
    started: float
    done: int = 0
    expected: int = 0

    def learn(self, **known: Any) -> None:
        self.report = replace(self.report, **known)


def _evaluate(
    path: Path,
    *,
    roots: Sequence[Path],
    progress: Progress,
    clock: Callable[[], float],
    base: BaseBranch | None,
    draft: _Draft,
    compare: bool,
) -> Evaluation:
    spec = load_spec(path, roots=roots)
    if not compare:
        spec = without_baseline(spec)
    draft.learn(
        name=spec.name,
        task=spec.task,
        spec=FileInfo(path=spec.source.display, sha256=spec.sha256, size=spec.size),
        run=RunSettings(
            precision=spec.run.precision,
            batch_size=spec.run.batch_size,
            seed=spec.run.seed,
            decision_threshold=spec.threshold,
        ),
    )
    base_spec = _compared(spec, path, base, draft) if base is not None else None
    # torch comes in here: a wrong spec is answered without it.
    with uncollected():
        from model_eval import after, engine
        from model_eval.evaluation import Evaluator, open_sets

    resolve = partial(usercode.resolve, base=spec.source.path.parent)
    device = engine.resolve_device(spec.run.device, location=spec.run.device_location)
    engine.prepare(seed=spec.run.seed, precision=spec.run.precision)
    draft.learn(environment=_environment(engine.describe_device(device, requested=spec.run.device)))

    brought = {  # imported now: what cannot be is said before the model runs
        metric.name: metrics.bring(metric, _metric_function(metric, spec.task, engine, resolve))
        for metric in spec.custom
    }
    sets = open_sets(spec, resolve)
    draft.expected = sum(one.expected for one in sets.heldouts.values())

    def counted(rows: int) -> None:
        draft.done += rows

    power = power_of(spec, {name: one.expected for name, one in sets.heldouts.items()})
    draft.learn(power=power)
    if spec.decisions.refuse_underpowered:
        require_power(spec, power)
    evaluator = Evaluator(
        spec=spec, device=device, resolve=resolve, progress=progress, count=counted
    )
    loaded = evaluator.load(spec.checkpoint, spec.model.factory)
    draft.learn(checkpoint=loaded.checkpoint)
    ready = clock()
    main = sets.heldouts[MAIN_HELDOUT]
    kept = engine.Keeping(main, main.expected, spec.run.seed)
    with loaded.unchanged():
        ledgers = evaluator.ledgers(loaded, sets.heldouts, {MAIN_HELDOUT: kept})
        golden = evaluator.golden(loaded, sets.golden) if sets.golden is not None else None
    evaluated = clock()
    further = [
        (name, sets.heldouts[name], rows) for name, rows in ledgers.items() if name != MAIN_HELDOUT
    ]
    if golden is not None and sets.golden is not None:
        further.append((GOLDEN_HELDOUT, sets.golden, golden))
    draft.learn(
        heldout=main.info(),
        notes=(*draft.report.notes, *main.notes),
        more_heldout=tuple(
            SetInfo(
                name=name,
                heldout=heldout.info(),
                completion=completion_of(rows, heldout.expected),
            )
            for name, heldout, rows in further
        ),
    )
    found = after.measure(
        spec,
        after.Judged(
            model=loaded.model,
            checkpoint=loaded.checkpoint,
            device=device,
            bind=loaded.bind,
            build=loaded.build,
            sample=kept.sample(),
            ledger=ledgers[MAIN_HELDOUT],
            scorer=evaluator.scorer(main.classes),
        ),
        clock=clock,
    )
    draft.learn(cost=found.cost, noise=found.noise, control=found.control)
    if spec.held_out_ledger is not None:
        known = lookups.looked_up(
            spec.held_out_ledger,
            heldout=main.info().sha256,
            checkpoint=lookups.digest_of(loaded.checkpoint),
        )
        draft.learn(
            lookups=known,
            notes=(*draft.report.notes, lookups.claim(known, spec.decisions.confidence)),
        )
    baselines, baseline = find_baseline(
        spec, ledgers, evaluate=partial(evaluator.baseline, sets.heldouts)
    )
    report = judged(
        draft.report,
        spec,
        Evaluated(
            ledgers=ledgers,
            expected={name: one.expected for name, one in sets.heldouts.items()},
            golden=golden,
            costs=found.costs,
            baselines=baselines,
            baseline=baseline,
            brought=brought,
        ),
        base=base_spec,
    )
    timings = Timings(
        load=ready - draft.started, evaluate=evaluated - ready, total=clock() - draft.started
    )
    return Evaluation(report=replace(report, timings=timings), ledgers=ledgers)


def _compared(spec: EvalSpec, path: Path, base: BaseBranch, draft: _Draft) -> EvalSpec | None:
    """The base branch's spec, after noting what this one asks less of.

    Raises:
        SpecError: it cannot be read, or is wrong and nobody has allowed to go on without it.
    """
    draft.learn(loosening_allowed=base.allow_loosening)
    if base.spec is None:
        draft.learn(notes=(_NO_BASE_SPEC,))
        return None
    data = read(base.spec, display=printable_path(base.spec))
    try:
        before = load_base_spec(data, at=path, roots=spec.roots)
    except SpecError as error:
        if base.allow_loosening:  # or nobody could merge what corrects it
            draft.learn(notes=(_WRONG_BASE_SPEC,))
            return None
        first = Fault(
            code=SpecError.code,
            message=f"{_WRONG_BASE_SPEC}: {count(len(error.faults), 'fault')} below",
            remedy="correct it in the base branch, or allow loosening for this pull request",
        )
        raise SpecError((first, *error.faults)) from error
    draft.learn(loosened=loosenings(before, spec))
    return before


def _metric_function(
    metric: CustomMetric,
    task: Task,
    engine: Any,
    resolve: Callable[[CodeRef], Callable[..., Any]],
) -> Callable[..., Any]:
    """What computes a metric that the spec brings, from columns and weights."""
    if metric.name.startswith(TORCHMETRICS):
        found: Callable[..., Any] = engine.from_torchmetrics(metric.code, task=task)
        return found
    return partial(usercode.call, metric.code, resolve(metric.code), **metric.code.kwargs)


def _environment(device: DeviceInfo) -> Environment:
    import torch

    return Environment(
        model_eval=__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),  # a TorchVersion, which msgspec refuses
        platform=platform.platform(),
        threads=torch.get_num_threads(),
        device=device,
    )
