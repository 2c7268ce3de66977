"""The main job from end to end: a spec's path in, a report and a ledger out.

Nothing here touches the environment, the network or the screen; the clock and the progress
display are passed in.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from model_eval import __version__, ledger, output, usercode
from model_eval.errors import (
    EvaluationError,
    HeldOutError,
    Interrupted,
    ModelEvalError,
    UserCodeError,
)
from model_eval.gates import EXIT_CODES, decide, judge
from model_eval.ledger import Ledger
from model_eval.report import error_report
from model_eval.spec import load_spec
from model_eval.spec.catalog import CONFUSION_MATRIX
from model_eval.spec.custom_metrics import TORCHMETRICS
from model_eval.spec.eval_spec import CodeRef, CustomMetric, EvalSpec
from model_eval.types import (
    ClassRow,
    Completion,
    DeviceInfo,
    Environment,
    FileInfo,
    Location,
    Report,
    RunSettings,
    Task,
    Timings,
)
from model_eval.wording import first_few, place_in

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the number of samples, a context whose value is called with each batch's size."""

_MATRIX_CLASSES = 100
"""With more classes than this the confusion matrix is reported only where it is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What a run leaves: always a report; a ledger where the evaluation finished."""

    report: Report
    ledger: Ledger | None


def evaluate(
    path: Path, *, roots: Sequence[Path], progress: Progress, clock: Callable[[], float]
) -> Evaluation:
    """Runs the spec. Whatever is wrong becomes a report with the verdict `error`.

    Args:
        path: the spec.
        roots: folders that the spec's files must be inside of; the first is the repository.
        progress: shows how far the evaluation is.
        clock: seconds, monotonic.

    Returns:
        A report, and the ledger where every sample was evaluated.
    """
    draft = _Draft(report=error_report(place_in(path, roots[0]), (), exit_code=4), started=clock())
    try:
        return _evaluate(path, roots=roots, progress=progress, clock=clock, draft=draft)
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
    return Evaluation(report=report, ledger=None)


def save(evaluation: Evaluation, folder: Path) -> None:
    """Writes the ledger, the summary and, last, the report, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, or is full.
    """
    if evaluation.ledger is not None:
        with output.whole(folder / output.LEDGER) as part:
            ledger.save(evaluation.ledger, part)
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
    draft: _Draft,
) -> Evaluation:
    spec = load_spec(path, roots=roots)
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
    # torch comes in here: a wrong spec is answered without it.
    from model_eval import engine, metrics
    from model_eval.checkpoint import load_model, unchanged
    from model_eval.heldout import open_heldout
    from model_eval.tasks import Scorer

    resolve = partial(usercode.resolve, base=spec.source.path.parent)
    device = engine.resolve_device(spec.run.device, location=spec.run.device_location)
    engine.prepare(seed=spec.run.seed, precision=spec.run.precision)
    draft.learn(environment=_environment(engine.describe_device(device, requested=spec.run.device)))

    brought = {  # imported now: what cannot be is said before the model runs
        metric.name: metrics.bring(metric, _metric_function(metric, spec.task, engine, resolve))
        for metric in spec.custom
    }
    heldout = open_heldout(spec.heldout, task=spec.task, resolve=resolve)
    draft.expected = heldout.expected
    with _placed({UserCodeError: spec.model.factory.location}):
        model, checkpoint = load_model(
            spec.checkpoint, build=_builder(spec.model.factory, resolve), device=device
        )
    draft.learn(checkpoint=checkpoint)
    loaded = clock()

    predict = engine.make_predict(
        model,
        device=device,
        precision=spec.run.precision,
        output_field=spec.model.output_field,
        transform=_called(spec.heldout.transform, resolve),
        postprocess=_called(spec.model.postprocess, resolve),
    )
    with progress(heldout.expected) as advance, _placed(_places(spec)), unchanged(model):

        def count(rows: int) -> None:
            draft.done += rows
            advance(rows)

        rows = engine.evaluate(
            predict,
            heldout,
            _scorer(Scorer, spec, heldout.classes),
            batch_size=spec.run.batch_size,
            progress=count,
        )
    evaluated = clock()
    draft.learn(heldout=heldout.info(), notes=heldout.notes)
    return Evaluation(
        report=_judged(
            draft.report,
            spec,
            rows,
            metrics,
            brought=brought,
            expected=heldout.expected,
            timings=Timings(
                load=loaded - draft.started,
                evaluate=evaluated - loaded,
                total=clock() - draft.started,
            ),
        ),
        ledger=rows,
    )


def _judged(
    known: Report,
    spec: EvalSpec,
    rows: Ledger,
    metrics: Any,
    *,
    brought: Mapping[str, Any],
    expected: int,
    timings: Timings,
) -> Report:
    completion = Completion(
        expected=expected, rows=len(rows), distinct=rows.distinct, finite=rows.finite
    )
    asked = tuple(ref for ref in spec.metrics if ref.name != CONFUSION_MATRIX)
    estimates = metrics.estimates(rows, asked, brought=brought)
    gates = judge(spec.gates, {estimate.metric: estimate for estimate in estimates})
    verdict, reason = decide(gates, completion)
    classification = spec.task is not Task.REGRESSION and completion.finite == completion.rows
    matrix = len(rows.classes) <= _MATRIX_CLASSES or len(asked) != len(spec.metrics)
    classes = metrics.class_rows(rows) if classification else ()
    return replace(
        known,
        verdict=verdict,
        exit_code=EXIT_CODES[verdict],
        reason=reason,
        completion=completion,
        estimates=estimates,
        classes=classes,
        confusion_matrix=metrics.confusion(rows) if classification and matrix else None,
        gates=gates,
        notes=_notes(known, completion, classes),
        timings=timings,
    )


def _notes(known: Report, completion: Completion, classes: Sequence[ClassRow]) -> tuple[str, ...]:
    notes = list(known.notes)
    if known.checkpoint and not known.checkpoint.pinned:
        notes.append("the checkpoint is not pinned: add checkpoint.sha256 to fix which file")
    if known.heldout and not known.heldout.pinned:
        notes.append("the held-out set is not pinned: add heldout.sha256 to fix its content")
    if known.heldout and not known.heldout.disjoint_from:
        notes.append("nothing was checked against training data: name it in heldout.disjoint_from")
    if lacking := completion.rows - completion.finite:
        notes.append(f"{lacking} of {completion.rows} samples have outputs that are not finite")
    if absent := [row.name for row in classes if row.support == 0]:
        notes.append(
            f"no sample is of {first_few(absent)}: macro averages leave out what is neither a target "
            "nor predicted"
        )
    return tuple(notes)


def _builder(
    factory: CodeRef, resolve: Callable[[CodeRef], Callable[..., Any]]
) -> Callable[[], Any]:
    function = resolve(factory)
    return lambda: usercode.call(factory, function, **factory.kwargs)


def _called(
    ref: CodeRef | None, resolve: Callable[[CodeRef], Callable[..., Any]]
) -> Callable[..., Any] | None:
    """The user's function, whose errors name it; None where the spec names none."""
    return partial(usercode.call, ref, resolve(ref)) if ref is not None else None


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


def _places(spec: EvalSpec) -> Mapping[type[ModelEvalError], Location]:
    """Where the spec says what an error of the engine or of the scoring is about."""
    heldout = spec.heldout
    return {
        EvaluationError: spec.model.factory.location,
        HeldOutError: heldout.locations.get("target", heldout.location),
        UserCodeError: heldout.transform.location if heldout.transform else heldout.location,
    }


@contextmanager
def _placed(places: Mapping[type[ModelEvalError], Location]) -> Iterator[None]:
    """Gives an error that was raised without a place in the spec the place of its class."""
    try:
        yield
    except ModelEvalError as error:
        if error.location is None:
            found = (place for kind, place in places.items() if isinstance(error, kind))
            error.location = next(found, None)
        raise


def _scorer(scorer: Any, spec: EvalSpec, classes: tuple[str, ...] | None) -> Any:
    return scorer(
        task=spec.task,
        kind=spec.model.output,
        threshold=spec.threshold,
        classes=classes,
        outputs=spec.heldout.targets if spec.task is Task.REGRESSION else (),
    )


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
