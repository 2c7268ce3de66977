"""The steps of a run, in order: the spec, what can be wrong before the model runs, the model, the verdict."""

from dataclasses import replace

from model_eval import lookups, usercode
from model_eval.baseline import Started, find_baseline, look_ahead
from model_eval.brought import bring_metrics
from model_eval.draft import Draft
from model_eval.early_stop import EarlyWatch, watch_of
from model_eval.judgement import Evaluated, judged, require_power
from model_eval.ledger import Ledger
from model_eval.power import power_of
from model_eval.run.base_branch import compared
from model_eval.run.inputs import Inputs
from model_eval.run.measuring import Measuring
from model_eval.run.parts import gathered, joined_of, require_free
from model_eval.run.result import Evaluation
from model_eval.spec import load_spec, without_baseline
from model_eval.spec.eval_spec import EvalSpec
from model_eval.types import MAIN_HELDOUT, BatchSizeFrom, FileInfo, RunSettings, Timings


def evaluated(inputs: Inputs, draft: Draft) -> Evaluation:
    """The evaluation.

    Args:
        inputs: of the run.
        draft: learns what is known as it is found.

    Raises:
        ModelEvalError: it cannot be done.
    """
    started = Started.now()
    spec = _spec(inputs, draft)
    base_spec = None
    if inputs.base is not None:
        base_spec = compared(spec, inputs.path, inputs.base, draft)
    ahead = look_ahead(spec, started) if inputs.parts.judged_here else None
    measuring = Measuring(spec, draft, inputs)
    joined = None
    if inputs.parts.shards is not None:
        joined = joined_of(inputs.parts.shards, spec, draft)
    expected = measuring.expected
    brought = bring_metrics(spec)  # what cannot be is said before the model runs
    loosened = inputs.base is not None and inputs.base.allow_loosening
    watch = _watch(
        spec,
        None if loosened else base_spec,
        expected=expected[MAIN_HELDOUT],
        saved=None if ahead is None else ahead.ledger,
        in_parts=inputs.parts.several,
        draft=draft,
    )
    power = power_of(spec, expected, early=watch is not None)
    draft.learn(power=power)
    if (
        spec.decisions.refuse_underpowered and inputs.compare
    ):  # of a baseline only its ledgers count
        require_power(spec, power)
    if (shard := inputs.parts.own) is not None:
        known, ledgers = measuring.session.measure_part(shard)
        known = replace(known, timings=_timings(draft, inputs.clock()))
        part, team = Evaluation(report=known, ledgers=ledgers), inputs.parts.team
        if team is None:
            return part
        # What this process has is not what the run has, should that not come to its end.
        draft.learn(completion=None, more_heldout=())
        joined = gathered(part, team, inputs.parts.output)
        if joined is None:
            return replace(part, ledgers={})
    measured = measuring.checkpoint(watch, joined)
    draft.ledgers = measured.ledgers
    _look_up(spec, draft)
    baselines, baseline = find_baseline(
        ahead,
        spec,
        measured.ledgers,
        evaluate=measuring.baseline,
        started=started,
        ended=expected[MAIN_HELDOUT] if watch is not None and watch.ended else None,
        reused=measuring.learn_reused,
        cache=inputs.store.arguments if inputs.store is not None else ("--no-cache",),
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
    report = replace(report, timings=_timings(draft, inputs.clock()))
    return Evaluation(report=report, ledgers=measured.ledgers)


def _spec(inputs: Inputs, draft: Draft) -> EvalSpec:
    """The spec, after all that is wrong with it was said."""
    spec = load_spec(inputs.path, roots=inputs.roots)
    usercode.compile_anew()
    if not inputs.compare:
        spec = without_baseline(spec)
        draft.note("evaluated as a baseline: gates that compare with one are left out")
    stated = spec.run.batch_size is not None
    draft.learn(
        name=spec.name,
        task=spec.task,
        spec=FileInfo(path=spec.source.display, sha256=spec.sha256, size=spec.size),
        run=RunSettings(
            precision=spec.run.precision,
            batch_size=spec.run.batch_size,
            batch_size_from=BatchSizeFrom.SPEC if stated else BatchSizeFrom.MEASURED,
            memory_format=spec.run.memory_format,
            seed=spec.run.seed,
            decision_threshold=spec.threshold,
            stop_early=spec.run.stop_early,
        ),
    )
    require_free(spec, inputs.parts)
    return spec


def _watch(
    spec: EvalSpec,
    base_spec: EvalSpec | None,
    *,
    expected: int,
    saved: Ledger | None,
    in_parts: bool,
    draft: Draft,
) -> EarlyWatch | None:
    """What ends a run early that asks for it; None where it goes to its end, which the report says."""
    if not spec.run.stop_early:
        return None
    watch, note = watch_of(spec, base_spec, expected=expected, saved=saved, in_parts=in_parts)
    if note is not None:
        draft.note(note)
    return watch


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
