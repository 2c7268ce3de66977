"""Whether the run was asked to stop: a fact that code of the user's cannot undo by catching it.

The handler raises where the run is, so that a model that computes for minutes is left at once. Code
of the repository may catch that (a bare `except:` around a dataset's file), and go on with other
samples than it was asked for. So it is written down, too, and no such run is judged.
"""

import signal
from collections.abc import Iterable
from types import FrameType

from model_eval.errors import AlarmRang, DeadlineReached, Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
"""A stop, the same from a keyboard or by a terminal that is closed, and the deadline."""


def heard(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """All of them, but SIGHUP where whoever started this process has it ignored, as `nohup` does."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in numbers if not (ignored and number == signal.SIGHUP)]


class Stop:
    """What asks this process to stop.

    Args:
        deadline: whether it has one, which is an alarm; any other is of the user's code.

    Attributes:
        reason: what the first signal meant; None while there was none.
    """

    def __init__(self, *, deadline: bool = False) -> None:
        self.reason: type[Interrupted] | None = None
        self._alarm = DeadlineReached if deadline else AlarmRang
        self._raises = False

    def listen(self, numbers: Iterable[signal.Signals] = SIGNALS) -> None:
        """Takes the signals of this process over. They are written down, and raised while heeded."""
        for number in heard(numbers):
            signal.signal(number, self.take)

    def take(self, number: int, _frame: FrameType | None) -> None:
        """A signal came.

        Raises:
            Interrupted: it is heeded. Once: what follows is the report's.
        """
        if self.reason is None:
            self.reason = self._alarm if number == signal.SIGALRM else Interrupted
        if self._raises:
            self._raises = False
            raise self.reason

    def heed(self) -> None:
        """From here on a signal is raised where the run is.

        Raises:
            Interrupted: one came before.
        """
        self._raises = self.reason is None
        self.require_none()

    def end(self) -> None:
        """The run is over: later signals do not change what it found.

        Raises:
            Interrupted: one came before, whoever caught it.
        """
        self._raises = False
        self.require_none()

    def require_none(self) -> None:
        """Raises Interrupted where a signal came, whoever caught it."""
        if self.reason is not None:
            raise self.reason
