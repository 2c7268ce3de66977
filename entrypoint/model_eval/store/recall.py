"""A stored measurement → what the run knows, as if it had measured."""

from collections.abc import Callable
from dataclasses import replace

from model_eval.draft import Draft
from model_eval.measured import Measured
from model_eval.metrics.cost import counted_costs
from model_eval.spec.catalog import COST
from model_eval.spec.eval_spec import EvalSpec
from model_eval.store.facts import facts_of
from model_eval.store.reuse import Found
from model_eval.types import ReusedInfo


def recalled(found: Found, spec: EvalSpec, draft: Draft, clock: Callable[[], float]) -> Measured:
    """What the entry holds.

    Args:
        found: the entry.
        spec: which costs are asked for; those that follow from the checkpoint are counted again.
        draft: learns the facts.
        clock: seconds, monotonic.
    """
    measured = found.measured
    checkpoint = measured.report.checkpoint
    asked = [ref for ref in spec.metrics if ref.name in COST]
    draft.learn(
        **facts_of(measured.report),
        estimates=counted_costs(asked, checkpoint) if checkpoint is not None else (),
        reused=ReusedInfo(checkpoint=found.key, baseline=None),
    )
    draft.note(*measured.report.notes)
    draft.done = draft.expected = sum(measured.expected.values())
    draft.ready = draft.evaluated = clock()
    return replace(measured, report=draft.report)
