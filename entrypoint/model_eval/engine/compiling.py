"""`torch.compile`, where it pays for itself: setting it up takes longer than many a whole evaluation.

Whether it does is measured on the set's own batches. A model that cannot be compiled, or that
compiled gives other outputs or no speed, is run as it is, and the report says why.
"""

from collections.abc import Callable, Mapping
from time import perf_counter

import torch
from torch import Tensor

from model_eval.engine.device import wait_for
from model_eval.engine.predict import Predict
from model_eval.engine.repeat import TOLERANCE, copies, kept_of, numbers, off_by
from model_eval.errors import EvaluationError, Interrupted, ModelEvalError, OutOfMemoryError
from model_eval.usercode import describe

BATCHES = 5
"""Batches of one size after which its time is believed; while a size is looked for there are fewer."""

WORTH_SECONDS = 60.0
"""Of work that is left: less does not pay for compilation, which takes 10 to 60 seconds."""

FASTER = 0.95
"""Compiled code must take less than this of the time."""


class CompiledCodeError(EvaluationError):
    """Compiled code failed, halfway maybe: the batch is to be run again, on inputs as they were."""


class Compiling:
    """A model's side of the engine that may become a compiled one.

    Args:
        eager: the model as it is.
        compiled: gives the compiled one; the first call of it compiles.
        expected: samples that it will be given.
        device: where the model is.
        clock: seconds, monotonic.

    Attributes:
        used: whether compiled code ran.
        why: what was decided, in a sentence; None before that.
    """

    def __init__(
        self,
        eager: Predict,
        compiled: Callable[[], Predict],
        *,
        expected: int,
        device: torch.device,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.used = False
        self.why: str | None = None
        self._eager, self._make, self._device, self._clock = eager, compiled, device, clock
        self._left = expected
        self._compiled: Predict | None = None
        self._shapes: tuple[object, ...] = ()
        self._seconds: list[float] = []

    def __call__(self, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Tensor:
        """See `Predict`.

        Raises:
            CompiledCodeError: once; from then on the model is run as it is.
        """
        if self._compiled is not None and _shapes(args, kwargs) == self._shapes:
            try:
                return self._compiled(args, kwargs)
            except OutOfMemoryError:
                raise
            except EvaluationError as error:
                self._compiled = None
                self.why = f"compiled at first: then the compiled code failed: {error.message}"
                raise CompiledCodeError(error.message, remedy=error.remedy) from error
        if self.why is not None:
            return self._eager(args, kwargs)
        shapes = _shapes(args, kwargs)
        wait_for(self._device)  # for the inputs, which compiled code is given when they are there
        started = self._clock()
        outputs = self._eager(args, kwargs)
        wait_for(self._device)
        if shapes != self._shapes:
            self._shapes, self._seconds = shapes, []
        self._seconds.append(self._clock() - started)
        rows = len(outputs) if outputs.ndim else 0
        self._left -= rows
        if len(self._seconds) == BATCHES and rows:
            outputs = kept_of(outputs)
            self.why = self._decide(args, kwargs, outputs, rows)
        return outputs

    def leave_as_it_is(self, why: str) -> None:
        """Decides that it is not compiled.

        Args:
            why: a clause.
        """
        self._compiled = None
        self.why = f"not compiled: {why}"

    def _decide(
        self,
        args: tuple[Tensor, ...],
        kwargs: Mapping[str, Tensor],
        outputs: Tensor,
        rows: int,
    ) -> str:
        eager = min(self._seconds)
        left = eager * self._left / rows
        if left < WORTH_SECONDS:
            return f"not compiled: {left:.0f} seconds of work are left, less than it takes"
        try:
            compiled = self._make()
            found, shape = numbers(compiled(*copies(args, kwargs)))
            seconds = min(self._timed(compiled, args, kwargs) for _ in range(2))
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 — a compiler may raise anything
            cause = error.__cause__ if isinstance(error, ModelEvalError) else error
            return f"not compiled: {describe(cause or error)}"
        if shape != outputs.shape or not _close(found, numbers(outputs)[0]):
            return "not compiled: compiled, the model gives other outputs"
        if seconds > FASTER * eager:
            return f"not compiled: that takes {seconds / eager:.2f} times as long"
        self._compiled, self.used = compiled, True
        return f"compiled: that takes {seconds / eager:.2f} times as long"

    def _timed(
        self, predict: Predict, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]
    ) -> float:
        started = self._clock()
        predict(args, kwargs)
        wait_for(self._device)
        return self._clock() - started


def _close(found: Tensor, expected: Tensor) -> bool:
    """Whether numbers of one shape are the same but for `TOLERANCE`; NaN is no number."""
    near = off_by(expected, found) <= TOLERANCE
    return bool((near | (found == expected)).all())  # infinities have no difference


def _shapes(args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> tuple[object, ...]:
    return (*(value.shape for value in args), *((k, v.shape) for k, v in kwargs.items()))
