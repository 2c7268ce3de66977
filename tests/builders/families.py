"""Families of slices, as a spec would describe them."""

from itertools import pairwise

from builders.reports import HERE
from model_eval.spec.eval_spec import SliceFamily


def by(*columns, name=None):
    """The values of columns, or their combinations."""
    return _family(name or " & ".join(columns), columns=columns)


def bins(column, *edges):
    """Slices of a number, named as in a spec."""
    labels = [f"{column}<{edges[0]:g}"]
    labels += [f"{low:g}≤{column}<{high:g}" for low, high in pairwise(edges)]
    labels.append(f"{column}≥{edges[-1]:g}")
    return _family(column, columns=(column,), edges=tuple(map(float, edges)), labels=tuple(labels))


def where(condition, name=None):
    """The samples for which a condition holds."""
    label = name or condition
    return _family(label, where=condition, labels=(label,))


def _family(name, *, columns=(), edges=(), where=None, labels=()):
    return SliceFamily(
        name=name, columns=tuple(columns), edges=edges, where=where, labels=labels, location=HERE
    )
