"""Running the model as a spec says, and what that leaves: everything that a verdict is made of.

What was measured is ledgers and facts. Who has them needs no model any more: a run whose ledgers
are in the store, and one that joins the ledgers of shards, begin here in the middle.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial

from model_eval import after, engine, usercode
from model_eval.draft import Draft
from model_eval.early_stop import EarlyWatch, rows_between_looks
from model_eval.errors import PartsError, UserCodeError
from model_eval.evaluation import Evaluator, Loaded, Sets, open_sets
from model_eval.held_against import Here, hold_against
from model_eval.heldout import HeldOut, Shuffled
from model_eval.joining import (
    Joined,
    completion_of_part,
    marked,
    part_report,
    require_same_code,
)
from model_eval.ledger import Ledger
from model_eval.measured import Measured
from model_eval.own_files import digest_of_own_files, own_files_are_unchanged
from model_eval.parts import BATCH_SIZE, Range, Shard, range_of
from model_eval.progress import Progress
from model_eval.spec.code_digest import digest_of_code
from model_eval.spec.eval_spec import BaselineSpec, EvalSpec
from model_eval.types import (
    GOLDEN_HELDOUT,
    MAIN_HELDOUT,
    BatchSizeFrom,
    CheckpointInfo,
    PartInfo,
    Report,
    SetInfo,
    ShardInfo,
    Stopped,
)

FIXED_NOTE = (
    f"`run.batch_size: auto` is {BATCH_SIZE} in a run in parts: parts that measured it would not have "
    "the same batches"
)

CUT_NOTE = "batches have {} samples: after so many it is asked whether the run can end, as `stop_early` says"
NOT_COMPILED_NOTE = "not compiled: parts of a run would not agree on whether that pays, and differ in their last digits"


class Session:
    """The device, the sets and the models of one run; each is there when it is first asked for.

    Args:
        spec: the whole of it.
        draft: learns of the device, the checkpoint and the sets as they are found.
        progress: shows how far an evaluation is.
        clock: seconds, monotonic.
        in_parts: whether the samples are shared out, so that the size of batches is not measured.
        local: which of the processes on this machine this is, where there are several.
    """

    def __init__(
        self,
        spec: EvalSpec,
        draft: Draft,
        *,
        progress: Progress,
        clock: Callable[[], float],
        in_parts: bool = False,
        local: int = 0,
    ) -> None:
        self._spec, self._draft, self._progress, self._clock = spec, draft, progress, clock
        self._in_parts = in_parts
        # Before any of it is imported, and before ours can be replaced.
        self._code = digest_of_code(spec) if in_parts else ""
        self._program = digest_of_own_files() if in_parts else ""
        run = spec.run
        self._resolve = partial(usercode.resolve, base=spec.source.path.parent)
        self.device = engine.resolve_device(run.device, location=run.device_location, local=local)
        engine.make_current(self.device, location=run.device_location)
        engine.prepare(seed=run.seed, precision=run.precision)
        draft.learn(environment=engine.environment_of(self.device, requested=run.device))

    @cached_property
    def sets(self) -> Sets:
        """Every set of samples, opened.

        Raises:
            HeldOutError, LeakError, UserCodeError: one of them cannot be used.
        """
        sets = open_sets(self._spec, self._resolve)
        self._draft.expected = sum(one.expected for one in sets.all.values())
        return sets

    @cached_property
    def evaluator(self) -> Evaluator:
        """What runs checkpoints."""
        return Evaluator(
            spec=self._spec,
            device=self.device,
            resolve=self._resolve,
            progress=self._progress,
            count=self._draft.count,
            batch_size=self._batch_size(self.sets.heldouts[MAIN_HELDOUT].expected),
        )

    @cached_property
    def loaded(self) -> Loaded:
        """The checkpoint in its model.

        Raises:
            CheckpointError, UserCodeError: it cannot be loaded.
        """
        loaded = self.evaluator.load(self._spec.checkpoint, self._spec.model.factory)
        self._draft.learn(checkpoint=loaded.checkpoint)
        self._draft.ready = self._clock()
        return loaded

    def measure(self, watch: EarlyWatch | None = None, joined: Joined | None = None) -> Measured:
        """Runs the checkpoint on every set, and then what is measured after that.

        Args:
            watch: ends the main set's run as soon as its gates are decided; its samples then come
                in a random order.
            joined: the ledgers of shards, in place of the run on every set.

        Raises:
            PartsError: these are not ledgers of this checkpoint on these sets.
            ModelEvalError: it cannot be done.
        """
        spec, draft, sets, loaded = self._spec, self._draft, self.sets, self.loaded
        main = sets.heldouts[MAIN_HELDOUT]
        kept = self._keeping(main, in_random_order=watch is not None)
        compiles = spec.run.compile and not self._in_parts
        compiling = self.evaluator.compiling(loaded, main.expected) if compiles else None
        with loaded.unchanged():
            if joined is not None:
                draft.note(joined.note(draft.report.environment))
                here = Here(
                    known=draft.report,
                    sets=sets,
                    evaluator=self.evaluator,
                    loaded=loaded,
                    unchanged=partial(self._require_code_of, joined),
                    progress=self._progress,
                )
                ledgers = hold_against(joined, here, kept)
            else:
                ledgers = self.evaluator.ledgers(
                    loaded,
                    sets.heldouts,
                    {MAIN_HELDOUT: kept},
                    {MAIN_HELDOUT: compiling} if compiling else None,
                    enough=watch,
                    look_every=rows_between_looks(main.expected),
                )
            # Of shards, too: that these cases still come out so is asked of the model that is here.
            golden = self.evaluator.golden(loaded, sets.golden) if sets.golden else None
        if joined is None:
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
        draft.stop.require_none()
        return Measured(report=draft.report, ledgers=ledgers, golden=golden)

    def measure_part(self, shard: Shard) -> tuple[Report, Mapping[str, Ledger]]:
        """Runs the checkpoint on one part of every set; golden cases are the first shard's.

        Returns:
            A report without a verdict, and the ledgers of what is not empty.

        Raises:
            ModelEvalError: it cannot be done.
        """
        draft, sets, loaded = self._draft, self.sets, self.loaded
        grid = self.evaluator.batch_size.size
        ranges = {n: range_of(h.expected, shard, grid=grid) for n, h in sets.heldouts.items()}
        cases = sets.golden.expected if sets.golden is not None and shard.index == 1 else 0
        draft.expected = sum(stop - start for start, stop in ranges.values()) + cases
        for name, (_, stop) in ranges.items():
            sets.heldouts[name].digest_ranges([stop])
        with loaded.unchanged():
            found = self.evaluator.parts(loaded, sets.heldouts, ranges)
            if sets.golden is not None:
                ranges[GOLDEN_HELDOUT] = Range(0, cases)
                if cases:
                    sets.golden.digest_ranges([cases])
                    ledger = self.evaluator.golden(loaded, sets.golden)
                    found[GOLDEN_HELDOUT] = engine.Part(
                        ledger=replace(ledger, checkpoint=loaded.checkpoint.digest)
                    )
        draft.evaluated = self._clock()
        draft.stop.require_none()
        expected = {name: one.expected for name, one in sets.all.items()}
        ledgers = {name: part.ledger for name, part in found.items()}
        self._learn_run()
        draft.learn(
            heldout=sets.heldouts[MAIN_HELDOUT].info(whole=False),
            completion=completion_of_part(ledgers.get(MAIN_HELDOUT), expected[MAIN_HELDOUT]),
            more_heldout=tuple(
                SetInfo(
                    name=name,
                    heldout=heldout.info(whole=False),
                    completion=completion_of_part(ledgers.get(name), heldout.expected),
                )
                for name, heldout in sets.all.items()
                if name != MAIN_HELDOUT
            ),
        )
        parts = tuple(
            PartInfo(
                heldout=name,
                start=start,
                stop=stop,
                of=expected[name],
                like_probabilities=name not in found or found[name].like_probabilities,
                samples=next(iter(sets.all[name].range_digests()), None) if name in found else None,
                inputs=sets.all[name].shapes if name in found else (),
                outputs=found[name].outputs if name in found else "",
            )
            for name, (start, stop) in ranges.items()
        )
        info = ShardInfo(
            index=shard.index,
            of=shard.of,
            grid=grid,
            code=self._unchanged_code(),
            program=self._unchanged_program(),
            parts=parts,
        )
        return part_report(draft.report, info), marked(ledgers, draft.report, info)

    def _unchanged_code(self) -> str:
        """The digest of the code that the spec names, which must be that of when the run began.

        Raises:
            UserCodeError: it is another, so that nobody knows which of them ran.
        """
        if digest_of_code(self._spec) != self._code:
            raise UserCodeError(
                "a file of code that the spec names changed while it was being used",
                remedy="run again when nothing else writes it",
            )
        return self._code

    def _require_code_of(self, joined: Joined) -> None:
        """Refuses shards of other code, and code that changed while it was being used."""
        require_same_code(self._unchanged_code(), joined.report, who="this run")
        self._unchanged_program()  # which was held against the shards' before

    def _unchanged_program(self) -> str:
        """The digest of model-eval's own files, which must be those of when the run began.

        Raises:
            PartsError: they are others, so that nobody knows which of them ran.
        """
        if not own_files_are_unchanged():
            raise PartsError(
                "the files of model-eval changed while it ran",
                remedy="run this part again when nothing installs or upgrades model-eval",
            )
        return self._program

    def _keeping(self, main: HeldOut, *, in_random_order: bool) -> engine.Keeping:
        run = self._spec.run
        if not in_random_order:
            return engine.Keeping(main, main.expected, run.seed)
        place = self._spec.places.get("run.stop_early")
        source = Shuffled(main, main.expected, run.seed, location=place)
        return engine.Keeping(source, main.expected, run.seed, leading=True)

    def baseline(self, wanted: BaselineSpec) -> tuple[Mapping[str, Ledger], CheckpointInfo]:
        """The ledgers of a baseline's checkpoint; see `Evaluator.baseline`."""
        heldouts = self.sets.heldouts
        self._draft.expected += sum(one.expected for one in heldouts.values())
        found = self.evaluator.baseline(heldouts, wanted)
        self._draft.stop.require_none()
        return found

    def _batch_size(self, expected: int) -> engine.BatchSize:
        stated, most = self._spec.run.batch_size, engine.most_tried(expected)
        if self._spec.run.stop_early and not self._in_parts:
            # A larger one would be cut at every look, and never be measured.
            step = rows_between_looks(expected)
            most = min(most, step)
            if stated is not None and stated > step:
                self._draft.note(CUT_NOTE.format(step))
                stated = step
        if self._in_parts and self._spec.run.compile:
            self._draft.note(NOT_COMPILED_NOTE)
        if stated is None and self._in_parts:
            self._draft.note(FIXED_NOTE)
            return engine.BatchSize(BATCH_SIZE, BatchSizeFrom.PARTS)
        return engine.batch_size_of(stated, free=partial(engine.free, self.device), most=most)

    def _learn_run(self) -> None:
        settings, size = self._draft.report.run, self.evaluator.batch_size
        if settings is not None:
            known = replace(settings, batch_size=size.size, batch_size_from=size.origin)
            self._draft.learn(run=known)

    def _learn_of_sets(self, ledgers: Mapping[str, Ledger], golden: Ledger | None) -> None:
        draft, sets = self._draft, self.sets
        main, stopped = sets.heldouts[MAIN_HELDOUT], draft.report.stopped
        further = [
            (name, sets.heldouts[name], rows)
            for name, rows in ledgers.items()
            if name != MAIN_HELDOUT
        ]
        if golden is not None and sets.golden is not None:
            further.append((GOLDEN_HELDOUT, sets.golden, golden))
        self._learn_run()
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
