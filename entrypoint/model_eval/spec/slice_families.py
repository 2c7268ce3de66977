"""`heldout.slices`: columns, their combinations and bins, and conditions."""

from collections.abc import Sequence
from itertools import pairwise

from model_eval.spec import expression
from model_eval.spec.eval_spec import SliceFamily
from model_eval.spec.faults import Faults
from model_eval.spec.source import Node
from model_eval.spec.suggest import did_you_mean
from model_eval.wording import printable

OF_THE_LEDGER = frozenset({"id", "target", "prediction", "probability", "log_loss"})
"""Names in a condition that are columns of every ledger, and none of the held-out set."""


def find_families(
    node: Node | None, known: Sequence[str] | None, faults: Faults
) -> tuple[SliceFamily, ...]:
    """The families of a list of slices; faults for those that divide nothing.

    Args:
        node: the list, or None where there is none.
        known: the columns of the held-out set, where they are known.
        faults: takes what is wrong.
    """
    found: dict[str, SliceFamily] = {}
    for item in node.entries() if node else ():
        family = _family(item, known, faults)
        if family is None:
            continue
        if family.name in found:
            faults.add(
                item.location,
                f"`{printable(family.name)}` is in `heldout.slices` a second time",
                "remove one of the two, or give one a `name`",
            )
            continue
        found[family.name] = family
    return tuple(found.values())


def columns_of(family: SliceFamily) -> tuple[str, ...]:
    """The columns of the held-out set that a family needs."""
    if family.where is None:
        return family.columns
    _, names = expression.parse(family.where)
    return tuple(sorted(names - OF_THE_LEDGER))


def value_label(column: str, value: object) -> str:
    """`hospital=A`: how a slice of one value is called, the same for a spec and for the data."""
    if isinstance(value, bool):
        return f"{column}={str(value).lower()}"
    if isinstance(value, float):
        return f"{column}={_whole(value) or f'{value:g}'}"
    return f"{column}={value}"


def _whole(value: float) -> str | None:
    """A whole number without a point; None where it is none, or is larger than people read."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else None


def _family(item: Node, known: Sequence[str] | None, faults: Faults) -> SliceFamily | None:
    if isinstance(item.value, str):
        return _of_columns(item, (item.value,), item.value)
    given = [key for key in ("column", "columns", "where") if key in item.value]
    if len(given) > 1:
        faults.add(
            item.location,
            f"`{item.name}` has both `{given[0]}` and `{given[1]}`",
            "write one item for each",
        )
        return None
    name = item.value.get("name")
    if (where := item.get("where")) is not None:
        return _of_condition(item, where, name, known, faults)
    if (edges := item.get("bins")) is not None:
        return _of_bins(item, item.value["column"], edges, name, faults)
    columns = item.get("columns")
    names = tuple(columns.value) if columns else (item.value["column"],)
    return _of_columns(item, names, name or " & ".join(names))


def _of_columns(item: Node, columns: tuple[str, ...], name: str) -> SliceFamily:
    return SliceFamily(
        name=name, columns=columns, edges=(), where=None, labels=(), location=item.location
    )


def _of_bins(
    item: Node, column: str, edges: Node, name: str | None, faults: Faults
) -> SliceFamily | None:
    values = [float(value) for value in edges.value]
    if any(low >= high for low, high in pairwise(values)):
        faults.add(
            edges.location, f"`{edges.name}` does not rise", "write each edge once, in order"
        )
        return None
    shown = [_whole(value) or repr(value) for value in values]
    inner = [f"{low}≤{column}<{high}" for low, high in pairwise(shown)]
    return SliceFamily(
        name=name or column,
        columns=(column,),
        edges=tuple(values),
        where=None,
        labels=(f"{column}<{shown[0]}", *inner, f"{column}≥{shown[-1]}"),
        location=item.location,
    )


def _of_condition(
    item: Node, where: Node, name: str | None, known: Sequence[str] | None, faults: Faults
) -> SliceFamily | None:
    text: str = where.value
    try:
        _, names = expression.parse(text)
    except expression.ExpressionError as error:
        faults.add(
            where.location,
            f"`{printable(text)}` {error}",
            "write a condition such as `age > 65 and hospital != 'A'`",
        )
        return None
    missing = [n for n in sorted(names - OF_THE_LEDGER) if known is not None and n not in known]
    if missing:
        faults.add(
            where.location,
            f"the held-out set has no column `{printable(missing[0])}`",
            did_you_mean(missing[0], known or (), otherwise="its columns are"),
        )
        return None
    label = name or text
    return SliceFamily(
        name=label, columns=(), edges=(), where=text, labels=(label,), location=item.location
    )
