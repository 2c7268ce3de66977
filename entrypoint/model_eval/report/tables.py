"""What tables of every kind of report have in common: numbers, intervals and Markdown's syntax."""

from collections.abc import Sequence

from tabulate import tabulate

from model_eval.types import GateResult, Interval
from model_eval.wording import number

NONE = "–"  # noqa: RUF001 — an en dash, on purpose


def shown(value: float | None) -> str:
    """A number, or a dash."""
    return NONE if value is None else number(value)


def span(interval: Interval | None, *, unlike: Sequence[float] = ()) -> str:
    """`0.981 to 0.995`, or a dash; with more digits where an end would read like one of `unlike`."""
    if interval is None:
        return NONE
    ends = interval.low, interval.high
    return " to ".join(number(end, unlike=unlike, digits=4) for end in ends)


def threshold(gate: GateResult) -> str:
    """A gate's threshold, which does not read like its value or an end of its interval."""
    ends = () if gate.interval is None else (gate.interval.low, gate.interval.high)
    beside = ends if gate.value is None else (gate.value, *ends)
    return number(gate.threshold, unlike=beside)


def details(title: str, body: str) -> str:
    """A folded section; nothing where there is no body."""
    if not body:
        return ""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, align: str) -> str:
    """A pipe table; `align` has `l` or `r` for each column. Nothing where there are no rows."""
    if not rows:
        return ""
    sides = tuple({"l": "left", "r": "right"}[side] for side in align)
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    header = [cell.replace("|", "\\|") for cell in headers]
    return tabulate(cells, headers=header, tablefmt="pipe", disable_numparse=True, colalign=sides)
