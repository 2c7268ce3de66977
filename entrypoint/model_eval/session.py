"""Running the model as a spec says, and what that leaves: everything that a verdict is made of.

What was measured is ledgers and facts. Who has them needs no model any more: a run whose ledgers
are in the store, and one that joins the ledgers of shards, begin here in the middle.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property, partial

from model_eval import after, engine, usercode
from model_eval.draft import Draft
from model_eval.evaluation import Evaluator, Loaded, Sets, open_sets
from model_eval.heldout import HeldOut, Shuffled
from model_eval.ledger import Ledger
from model_eval.measured import Measured
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.stopping import Watch, rows_between_looks
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, CheckpointInfo, SetInfo, Stopped

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the number of samples, a context whose value is called with each batch's size."""


class Session:
    """The device, the sets and the models of one run; each is there when it is first asked for.

    Args:
        spec: the whole of it.
        draft: learns of the device, the checkpoint and the sets as they are found.
        progress: shows how far an evaluation is.
        clock: seconds, monotonic.
    """

    def __init__(
        self, spec: EvalSpec, draft: Draft, *, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self._spec, self._draft, self._progress, self._clock = spec, draft, progress, clock
        run = spec.run
        self._resolve = partial(usercode.resolve, base=spec.source.path.parent)
        self.device = engine.resolve_device(run.device, location=run.device_location)
        engine.prepare(seed=run.seed, precision=run.precision)
        draft.learn(environment=engine.environment_of(self.device, requested=run.device))

    @cached_property
    def sets(self) -> Sets:
        """Every set of samples, opened.

        Raises:
            HeldOutError, LeakError, UserCodeError: one of them cannot be used.
        """
        sets = open_sets(self._spec, self._resolve)
        self._draft.expected = sum(one.expected for one in sets.heldouts.values())
        return sets

    @cached_property
    def evaluator(self) -> Evaluator:
        """What runs checkpoints."""
        most = engine.LARGEST
        if self._spec.run.stop_early:  # a larger batch would be cut, and never be measured
            most = rows_between_looks(self.sets.heldouts[MAIN_HELDOUT].expected)
        return Evaluator(
            spec=self._spec,
            device=self.device,
            resolve=self._resolve,
            progress=self._progress,
            count=self._draft.count,
            batch_size=engine.batch_size_of(
                self._spec.run.batch_size, free=partial(engine.free, self.device), most=most
            ),
        )

    def measure(self, watch: Watch | None = None) -> Measured:
        """Runs the checkpoint on every set, and then what is measured after that.

        Args:
            watch: ends the main set's run as soon as its gates are decided; its samples then come
                in a random order.

        Raises:
            ModelEvalError: it cannot be done.
        """
        spec, draft, sets = self._spec, self._draft, self.sets
        loaded = self.evaluator.load(spec.checkpoint, spec.model.factory)
        draft.learn(checkpoint=loaded.checkpoint)
        draft.ready = self._clock()
        main = sets.heldouts[MAIN_HELDOUT]
        kept = self._keeping(main, in_random_order=watch is not None)
        compiling = self.evaluator.compiling(loaded, main.expected) if spec.run.compile else None
        with loaded.unchanged():
            ledgers = self.evaluator.ledgers(
                loaded,
                sets.heldouts,
                {MAIN_HELDOUT: kept},
                {MAIN_HELDOUT: compiling} if compiling else None,
                enough=watch,
                look_every=rows_between_looks(main.expected),
            )
            golden = self.evaluator.golden(loaded, sets.golden) if sets.golden else None
        draft.evaluated = self._clock()
        if watch is not None and watch.ended:
            draft.learn(stopped=Stopped(samples=watch.seen, of=main.expected))
        self._learn_of_sets(ledgers, golden)
        if compiling is not None and draft.report.run is not None:
            draft.learn(run=replace(draft.report.run, compiled=compiling.used))
            draft.note(compiling.why or "not compiled: there were too few batches")
        rows = ledgers[MAIN_HELDOUT]
        sample = kept.sample(len(rows) if draft.report.stopped else None)
        self._measure_after(loaded, sample, rows)
        return Measured(report=draft.report, ledgers=ledgers, golden=golden)

    def _keeping(self, main: HeldOut, *, in_random_order: bool) -> engine.Keeping:
        run = self._spec.run
        if not in_random_order:
            return engine.Keeping(main, main.expected, run.seed)
        place = self._spec.places.get("run.stop_early")
        source = Shuffled(main, main.expected, run.seed, location=place)
        return engine.Keeping(source, main.expected, run.seed, leading=True)

    def baseline(self, wanted: BaselineSpec) -> tuple[Mapping[str, Ledger], CheckpointInfo]:
        """The ledgers of a baseline's checkpoint; see `Evaluator.baseline`."""
        return self.evaluator.baseline(self.sets.heldouts, wanted)

    def _learn_of_sets(self, ledgers: Mapping[str, Ledger], golden: Ledger | None) -> None:
        draft, sets, size = self._draft, self.sets, self.evaluator.batch_size
        main, stopped = sets.heldouts[MAIN_HELDOUT], draft.report.stopped
        further = [
            (name, sets.heldouts[name], rows)
            for name, rows in ledgers.items()
            if name != MAIN_HELDOUT
        ]
        if golden is not None and sets.golden is not None:
            further.append((GOLDEN_HELDOUT, sets.golden, golden))
        if draft.report.run is not None:
            settings = replace(draft.report.run, batch_size=size.size, batch_size_from=size.origin)
            draft.learn(run=settings)
        draft.learn(
            heldout=main.info(),
            completion=ledgers[MAIN_HELDOUT].completion(
                main.expected if stopped is None else stopped.samples
            ),
            more_heldout=tuple(
                SetInfo(
                    name=name, heldout=heldout.info(), completion=rows.completion(heldout.expected)
                )
                for name, heldout, rows in further
            ),
        )
        draft.note(*main.notes)

    def _measure_after(self, loaded: Loaded, sample: engine.Sample, ledger: Ledger) -> None:
        found = after.measure(
            self._spec,
            after.Judged(
                model=loaded.model,
                checkpoint=loaded.checkpoint,
                device=self.device,
                bind=loaded.bind,
                build=loaded.build,
                sample=sample,
                ledger=ledger,
                scorer=self.evaluator.scorer(self.sets.heldouts[MAIN_HELDOUT].classes),
                batch_size=self.evaluator.batch_size.size,
            ),
            clock=self._clock,
        )
        self._draft.learn(
            cost=found.cost, noise=found.noise, control=found.control, estimates=found.costs
        )
