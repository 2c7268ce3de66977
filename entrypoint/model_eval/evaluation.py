"""Checkpoints over held-out sets: what needs torch, put together as a spec says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from model_eval import engine, usercode
from model_eval.checkpoint import forget_models, load_model, unchanged
from model_eval.errors import EvaluationError, HeldOutError, ModelEvalError, UserCodeError
from model_eval.heldout import HeldOut, open_heldout
from model_eval.ledger import Ledger
from model_eval.parts import Range
from model_eval.progress import Progress
from model_eval.slices_ahead import SlicesAhead
from model_eval.spec.eval_spec import BaselineSpec, CheckpointSpec, CodeRef, EvalSpec, HeldOutSpec
from model_eval.tasks import Scorer
from model_eval.types import GOLDEN_HELDOUT, MAIN_HELDOUT, CheckpointInfo, Location, Task

Resolve = Callable[[CodeRef], Callable[..., Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sets:
    """Every set of samples that a spec names, opened: wrong ones are found before the model is loaded.

    Attributes:
        heldouts: by name, the main one first.
    """

    heldouts: Mapping[str, HeldOut]
    golden: HeldOut | None

    @property
    def all(self) -> Mapping[str, HeldOut]:
        """The held-out sets and the golden cases, by name."""
        golden = {} if self.golden is None else {GOLDEN_HELDOUT: self.golden}
        return {**self.heldouts, **golden}


def open_sets(spec: EvalSpec, resolve: Resolve) -> Sets:
    """Opens them.

    Raises:
        HeldOutError, LeakError, UserCodeError: one of them cannot be used.
    """
    golden = None
    if spec.golden is not None:
        cases = replace(spec.golden.heldout, transform=spec.heldout.transform)
        golden = open_heldout(cases, task=Task.REGRESSION, resolve=resolve)
    heldouts = {}
    for name, one in spec.heldouts.items():
        slices = SlicesAhead(one.families, task=spec.task)
        heldouts[name] = open_heldout(one, task=spec.task, resolve=resolve, look=slices.add)
        slices.check(heldouts[name].classes or heldouts[MAIN_HELDOUT].classes)
    for name, opened in heldouts.items():
        _require_alike(name, opened, heldouts[MAIN_HELDOUT], spec)
    return Sets(heldouts=heldouts, golden=golden)


def _require_alike(name: str, opened: HeldOut, main: HeldOut, spec: EvalSpec) -> None:
    """Raises HeldOutError where a set would read the model's outputs in another order."""
    own, first = spec.heldouts[name].targets, spec.heldout.targets
    shuffled = own != first and sorted(own) == sorted(first)
    named = opened.classes is not None and main.classes is not None
    if shuffled or (named and opened.classes != main.classes):
        what = "targets" if shuffled else "classes"
        raise HeldOutError(
            f"the {what} of the held-out set `{name}` are not those of the main set in the same order",
            remedy=f"name the {what} of both in the order of the model's outputs",
            location=spec.heldouts[name].location,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A checkpoint in its model.

    Attributes:
        bind: gives the model's side of the engine for a model and a `device`.
        build: makes another model of the same architecture.
        predict: the model's side.
        place: where the spec names the model.
    """

    model: torch.nn.Module
    checkpoint: CheckpointInfo
    bind: Callable[..., engine.Predict]
    build: Callable[[], Any]
    predict: engine.Predict
    place: Location

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """A context at whose end the weights are still those of the file."""
        with placed({EvaluationError: self.place}), unchanged(self.model):
            yield


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluator:
    """Runs checkpoints as one spec says.

    Attributes:
        resolve: finds the user's callables.
        progress: shows how far an evaluation is.
        count: is told the samples of each finished batch.
        batch_size: what one evaluation learns of it, the next one uses.
    """

    spec: EvalSpec
    device: torch.device
    resolve: Resolve
    progress: Progress
    count: Callable[[int], None]
    batch_size: engine.BatchSize

    def load(self, checkpoint: CheckpointSpec, factory: CodeRef) -> Loaded:
        """Loads a checkpoint into the model that the factory makes.

        Raises:
            CheckpointError, UserCodeError: it cannot be loaded.
        """
        spec = self.spec
        with placed({UserCodeError: factory.location}):
            build = _builder(factory, self.resolve)
            model, info = load_model(checkpoint, build=build, device=self.device)
        engine.lay_out(model, spec.run.memory_format)
        bind = partial(
            engine.make_predict,
            precision=spec.run.precision,
            output_field=spec.model.output_field,
            transform=_called(spec.heldout.transform, self.resolve),
            postprocess=_called(spec.model.postprocess, self.resolve),
            memory_format=engine.MEMORY_FORMATS[spec.run.memory_format],
        )
        return Loaded(
            model=model,
            checkpoint=info,
            bind=bind,
            build=build,
            predict=bind(model, device=self.device),
            place=factory.location,
        )

    def ledgers(
        self,
        loaded: Loaded,
        sets: Mapping[str, HeldOut],
        sources: Mapping[str, engine.Source] | None = None,
        predicts: Mapping[str, engine.Predict] | None = None,
        *,
        enough: Callable[[Ledger], bool] | None = None,
        look_every: int = 1,
    ) -> dict[str, Ledger]:
        """One ledger for each held-out set, in the same order.

        Args:
            loaded: the checkpoint.
            sets: the held-out sets.
            predicts: the model's side for a set, where it is not the checkpoint's own.
            sources: what gives a set's samples in its place, such as one that keeps some of them.
            enough: ends the main set's run early, as `engine.evaluate` has it.
            look_every: as there.
        """
        found = {}
        for name, heldout in sets.items():
            with placed(self.places(name)):
                source = (sources or {}).get(name, heldout)
                rows = self._rows(
                    loaded,
                    name,
                    source,
                    expected=heldout.expected,
                    scorer=self.scorer_of(name, sets),
                    predict=(predicts or {}).get(name),
                    enough=enough if name == MAIN_HELDOUT else None,
                    look_every=look_every,
                ).whole()
                found[name] = replace(
                    rows, heldout=heldout.info().sha256, checkpoint=loaded.checkpoint.digest
                )
        return found

    def parts(
        self, loaded: Loaded, sets: Mapping[str, HeldOut], ranges: Mapping[str, Range]
    ) -> dict[str, engine.Part]:
        """Of each range that is not empty its ledger, and what is known beside it.

        Args:
            loaded: the checkpoint.
            sets: the held-out sets.
            ranges: which samples of each.
        """
        found = {}
        for name, (start, stop) in ranges.items():
            if start == stop:
                continue
            with placed(self.places(name)):
                part = self._rows(
                    loaded,
                    name,
                    sets[name].part(start, stop),
                    expected=stop - start,
                    scorer=self.scorer_of(name, sets),
                ).part()
                digest = sets[name].info(whole=False).sha256 or None
                ledger = replace(part.ledger, heldout=digest, checkpoint=loaded.checkpoint.digest)
                found[name] = replace(part, ledger=ledger)
        return found

    def places(self, name: str) -> Mapping[type[ModelEvalError], Location]:
        """Where the spec says what an error about this held-out set is about."""
        return _places(self.spec, self.spec.heldouts[name])

    def scorer_of(self, name: str, sets: Mapping[str, HeldOut]) -> Scorer:
        """The scoring side of a held-out set."""
        return self.scorer(
            sets[name].classes or sets[MAIN_HELDOUT].classes,
            ignore_index=self.spec.heldouts[name].ignore_index,
        )

    def golden(self, loaded: Loaded, cases: HeldOut) -> Ledger:
        """The ledger of the golden cases, a regression's on the recorded outputs."""
        cases_spec = self.spec.golden
        if cases_spec is None:
            raise ValueError("the spec has no golden cases")
        scorer = Scorer(
            task=Task.REGRESSION,
            kind=None,
            threshold=None,
            classes=None,
            outputs=cases_spec.heldout.targets,
        )
        with placed(_places(self.spec, cases_spec.heldout)):
            return self._run(loaded.predict, cases, cases.expected, scorer).whole()

    def baseline(
        self, sets: Mapping[str, HeldOut], wanted: BaselineSpec
    ) -> tuple[Mapping[str, Ledger], CheckpointInfo]:
        """The ledgers of a baseline's checkpoint.

        Raises:
            BaselineError, CheckpointError, EvaluationError, UserCodeError: it cannot be evaluated.
        """
        if wanted.checkpoint is None:
            raise ValueError("the baseline is no checkpoint")
        factory = wanted.factory or self.spec.model.factory
        forget_models()  # that ran before: they are no part of this one
        loaded = self.load(wanted.checkpoint, factory)
        with loaded.unchanged():
            return self.ledgers(loaded, sets), loaded.checkpoint

    def _rows(
        self,
        loaded: Loaded,
        name: str,
        source: engine.Source,
        *,
        expected: int,
        scorer: Scorer,
        predict: engine.Predict | None = None,
        enough: Callable[[Ledger], bool] | None = None,
        look_every: int = 1,
    ) -> engine.Rows:
        return self._run(
            predict or self.predict_for(loaded, name),
            source,
            expected,
            scorer,
            causal=self.spec.heldouts[name].shift,
            enough=enough,
            look_every=look_every,
        )

    def _run(
        self,
        predict: engine.Predict,
        source: engine.Source,
        expected: int,
        scorer: Scorer,
        *,
        causal: bool = False,
        enough: Callable[[Ledger], bool] | None = None,
        look_every: int = 1,
    ) -> engine.Rows:
        # Here, because all code that it needs has been imported, and its models are built.
        with engine.in_precision(self.spec.run.precision), self.progress(expected) as advance:

            def count(rows: int) -> None:
                self.count(rows)
                advance(rows)

            return engine.evaluate(
                predict,
                source,
                scorer,
                batch_size=self.batch_size,
                progress=count,
                device=self.device,
                causal=causal,
                expected=expected,
                enough=enough,
                look_every=look_every,
            )

    def compiling(self, loaded: Loaded, expected: int) -> engine.Compiling:
        """The model's side for the main set, which is compiled where that pays."""

        def compiled() -> engine.Predict:
            import torch._dynamo  # which `import torch` leaves out, and takes a second

            return loaded.bind(torch.compile(loaded.model, dynamic=False), device=self.device)

        return engine.Compiling(loaded.predict, compiled, expected=expected, device=self.device)

    def predict_for(self, loaded: Loaded, name: str) -> engine.Predict:
        """The model's side for a held-out set, which may transform its inputs in its own way."""
        heldout = self.spec.heldouts[name]
        if heldout is self.spec.heldout:
            return loaded.predict
        transform = _called(heldout.transform, self.resolve)
        return loaded.bind(loaded.model, device=self.device, transform=transform)

    def scorer(self, classes: tuple[str, ...] | None, *, ignore_index: int | None = None) -> Scorer:
        """The scoring side for a set with these classes; outputs are named as in the main set."""
        spec = self.spec
        return Scorer(
            task=spec.task,
            kind=spec.model.output,
            threshold=spec.threshold,
            classes=classes,
            outputs=spec.heldout.targets if spec.task is Task.REGRESSION else (),
            ignore_index=spec.heldout.ignore_index if ignore_index is None else ignore_index,
        )


def _builder(factory: CodeRef, resolve: Resolve) -> Callable[[], Any]:
    function = resolve(factory)
    return lambda: usercode.call(factory, function, **factory.kwargs)


def _called(ref: CodeRef | None, resolve: Resolve) -> Callable[..., Any] | None:
    """The user's function, whose errors name it; None where the spec names none."""
    return partial(usercode.call, ref, resolve(ref)) if ref is not None else None


def _places(spec: EvalSpec, heldout: HeldOutSpec) -> Mapping[type[ModelEvalError], Location]:
    """Where the spec says what an error of the engine or of the scoring is about."""
    return {
        EvaluationError: spec.model.factory.location,
        HeldOutError: heldout.locations.get("target", heldout.location),
        UserCodeError: heldout.transform.location if heldout.transform else heldout.location,
    }


@contextmanager
def placed(places: Mapping[type[ModelEvalError], Location]) -> Iterator[None]:
    """Gives an error that was raised without a place in the spec the place of its class."""
    try:
        yield
    except ModelEvalError as error:
        if error.location is None:
            found = (place for kind, place in places.items() if isinstance(error, kind))
            error.location = next(found, None)
        raise
