"""What is measured after the accuracy pass: costs, the noise floor, and untrained models.

In this order, so that the time and memory of one prediction are those of the checkpoint's model
alone. Nothing here can change the ledger, and nothing that fails here fails the run.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from model_eval import engine
from model_eval.checkpoint import MAX_PARAMETERS, prints, untrained
from model_eval.checks import control_refs, noise_refs
from model_eval.errors import Interrupted, UserCodeError
from model_eval.ledger import Ledger
from model_eval.metrics.cost import cost_estimates, counted_costs
from model_eval.spec.catalog import COST, TIMED
from model_eval.spec.eval_spec import EvalSpec
from model_eval.tasks import Scorer
from model_eval.types import (
    CheckpointInfo,
    ControlInfo,
    CostInfo,
    Estimate,
    NoiseInfo,
)
from model_eval.usercode import describe

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the accuracy pass used, and what it left.

    Attributes:
        model: the checkpoint's, on `device`.
        bind: gives the model's side of the engine for a model and a device.
        build: makes another model of the same architecture.
        sample: held-out samples in memory.
        ledger: of the whole set.
        batch_size: samples a batch.
    """

    model: torch.nn.Module
    checkpoint: CheckpointInfo
    device: torch.device
    bind: Callable[..., engine.Predict]
    build: Callable[[], Any]
    sample: engine.Sample
    ledger: Ledger
    scorer: Scorer
    batch_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Estimates of the costs that the spec asks for, and what else the report has of them."""

    costs: tuple[Estimate, ...]
    cost: CostInfo | None
    noise: NoiseInfo
    control: ControlInfo | None


def measure(spec: EvalSpec, judged: Judged, *, clock: Callable[[], float]) -> Found:
    """All that the spec asks for.

    Args:
        spec: the whole of it.
        judged: the model and its ledger.
        clock: seconds, monotonic.
    """
    costs, cost = _costs(spec, judged, clock)
    noise = engine.measure_noise(
        judged.bind(judged.model, device=judged.device),
        judged.sample,
        judged.scorer,
        noise_refs(spec),
        on_cpu=None if judged.device == _CPU else partial(_on_cpu, judged),
    )
    control = _control(spec, judged) if spec.control else None
    return Found(costs=costs, cost=cost, noise=noise, control=control)


def _costs(
    spec: EvalSpec, judged: Judged, clock: Callable[[], float]
) -> tuple[tuple[Estimate, ...], CostInfo | None]:
    checkpoint = judged.checkpoint
    asked = [ref for ref in spec.metrics if ref.name in COST]
    if TIMED.isdisjoint(ref.name for ref in asked):
        return counted_costs(asked, checkpoint), None
    measured = engine.measure_cost(
        judged.bind(judged.model, device=judged.device),
        judged.sample,
        spec.cost,
        checkpoint=checkpoint,
        device=judged.device,
        clock=clock,
    )
    estimates = cost_estimates(asked, measured, confidence=spec.decisions.confidence)
    return estimates, CostInfo(
        batch_size=spec.cost.batch_size,
        warmup=spec.cost.warmup,
        runs=spec.cost.runs,
        seconds=sum(measured.seconds) if measured.seconds else None,
        skipped=measured.untimed,
    )


def _control(spec: EvalSpec, judged: Judged) -> ControlInfo:
    parameters = judged.checkpoint.parameters
    if parameters > MAX_PARAMETERS:
        return ControlInfo(
            n=0,
            of=judged.sample.of,
            trials=(),
            worse=None,
            skipped=f"the model has {parameters:,} parameters: above {MAX_PARAMETERS:,} no second "
            "one is built",
        )

    def fresh(seed: int) -> engine.Fresh:
        model = untrained(judged.build, device=judged.device, seed=seed)
        engine.set_precision(spec.run.precision)  # which the factory may have set
        return engine.Fresh(predict=judged.bind(model, device=judged.device), weights=prints(model))

    return engine.run_control(
        fresh,
        weights=prints(judged.model),
        ledger=judged.ledger,
        sample=judged.sample,
        scorer=judged.scorer,
        refs=control_refs(spec),
        batch_size=judged.batch_size,
        seed=spec.run.seed,
    )


def _on_cpu(judged: Judged) -> engine.Predict:
    if judged.checkpoint.parameters > MAX_PARAMETERS:
        raise UserCodeError(
            f"the model has {judged.checkpoint.parameters:,} parameters: above {MAX_PARAMETERS:,} "
            "no second one is built"
        )
    try:
        model = deepcopy(judged.model).to(_CPU)
    except Interrupted:
        raise
    # A model may hold what cannot be copied, and may override how it is.
    except BaseException as error:
        raise UserCodeError(f"a copy of the model for the CPU raised {describe(error)}") from error
    return judged.bind(model, device=_CPU)
