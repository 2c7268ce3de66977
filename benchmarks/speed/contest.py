"""Contenders in turn, each beside its floor, in one process.

Timings of a shared machine drift; ratios taken side by side do not. So the floor is measured anew
just before each contender, the order is another one in each round, and what is quoted is the median
of the ratios.
"""

import gc
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Values = Mapping[str, float]
"""Metric → value, so that contenders can be held against one another."""

Kind = Literal["floor", "ours", "reference", "peer"]

QUICK = 1.0
"""Seconds below which a contender is timed several times a round: a shared machine's moods are long."""

TURNS = 3
"""How often."""


class UnavailableError(Exception):
    """A contender cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """What is timed.

    Attributes:
        run: data → values of metrics; timed. Called once on `warm_up` before the first round.
        own: the contender that is its own floor, such as the forward passes at the same batch size.
    """

    name: str
    kind: Kind
    run: Callable[[Any], Values]
    own: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was measured of a contender.

    Attributes:
        seconds: of each time; there is one in each round, or `TURNS` of those that are `QUICK`.
        ratios: to the floor measured just before, likewise.
        own_ratios: to its own floor, likewise; empty where it has none.
        warm_up: seconds of the first call, on few rows: imports, compilation.
        values: of the last round.
    """

    contender: Contender
    seconds: tuple[float, ...]
    ratios: tuple[float, ...]
    own_ratios: tuple[float, ...]
    warm_up: float
    values: Values

    def row(self) -> dict[str, Any]:
        """As JSON: medians, and the smallest and largest ratio."""
        own = self.own_ratios
        return {
            "name": self.contender.name,
            "kind": self.contender.kind,
            "seconds": round(statistics.median(self.seconds), 4),
            "ratio": round(statistics.median(self.ratios), 3),
            "ratios": [round(min(self.ratios), 3), round(max(self.ratios), 3)],
            "warm_up": round(self.warm_up, 3),
            "own": self.contender.own,
            "own_ratio": round(statistics.median(own), 3) if own else None,
            "values": {name: float(value) for name, value in self.values.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A contender that did not run, and why."""

    contender: Contender
    why: str


def contest(
    floor: Contender,
    contenders: Sequence[Contender],
    data: Any,
    *,
    warm_up: Any,
    runs: int,
    clock: Callable[[], float],
    say: Callable[[str], None],
    settle: Callable[[], object] = gc.collect,
) -> tuple[list[Result], list[Skipped]]:
    """Times all contenders, the floor first among the results.

    Args:
        floor: what ratios are to.
        contenders: in the order of the results.
        data: what each is handed.
        warm_up: a little of it.
        runs: how many rounds.
        clock: seconds.
        say: is told how far it is.
        settle: called before each timing, so that nobody pays for another's rubbish.

    Raises:
        ValueError: there are no rounds, or two contenders have one name.
    """

    def timed(one: Contender, given: Any) -> tuple[float, Values]:
        settle()
        started = clock()
        found = one.run(given)
        return clock() - started, found

    every = {one.name: one for one in (floor, *contenders)}
    if runs < 1 or len(every) != len(contenders) + 1:
        raise ValueError("there must be at least one round, and names must differ")
    skipped, first = [], {}
    for one in every.values():
        try:
            first[one.name] = timed(one, warm_up)[0]
        except UnavailableError as error:
            skipped.append(Skipped(contender=one, why=str(error)))
            say(f"skipped: {one.name}: {error}")
    seconds: dict[str, list[float]] = {name: [] for name in first}
    ratios: dict[str, list[float]] = {name: [] for name in first}
    own_ratios: dict[str, list[float]] = {name: [] for name in first}
    values: dict[str, Values] = {}

    def turn(one: Contender, number: int) -> float:
        base, values[floor.name] = timed(floor, data)
        seconds[floor.name].append(base)
        below = timed(every[one.own], data)[0] if one.own and one.own in first else None
        took, values[one.name] = timed(one, data)
        seconds[one.name].append(took)
        ratios[one.name].append(took / base)
        if below is not None:
            own_ratios[one.name].append(took / below)
        say(f"round {number + 1} of {runs}: {one.name}: {took:.3f} s, {took / base:.2f}")
        return took

    for number in range(runs):
        order = [name for name in first if name != floor.name]
        random.Random(number).shuffle(order)  # whoever comes after a large one must not always pay
        for name in order:
            for _ in range(TURNS):
                if turn(every[name], number) > QUICK:
                    break
    ratios[floor.name] = [1.0]
    found = [
        Result(
            contender=every[name],
            seconds=tuple(seconds[name]),
            ratios=tuple(ratios[name]),
            own_ratios=tuple(own_ratios[name]),
            warm_up=first[name],
            values=values[name],
        )
        for name in first
        if seconds[name]
    ]
    return found, skipped


def largest_difference(values: Values, reference: Values) -> float | None:
    """Of the metrics that both have; None where there is none."""
    both = values.keys() & reference.keys()
    return max((abs(float(values[name]) - float(reference[name])) for name in both), default=None)
