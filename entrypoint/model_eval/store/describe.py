"""A spec → plain values that hold all of it that can change what is measured.

A field is in unless it is named here, so that one that is added later is in the key, too. What is left
out decides about a ledger that is there already, or says where something is written.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from model_eval.spec.eval_spec import CodeRef, EvalSpec, GoldenSpec, HeldOutSpec, PathRef
from model_eval.store.unproved import UnprovedError
from model_eval.types import Location

LEFT_OUT: Mapping[type, frozenset[str]] = {
    EvalSpec: frozenset(
        {
            "name", "source", "sha256", "size", "roots", "places",  # who asks, and where that is written
            "metrics", "gates", "custom", "decisions",  # judge a ledger that is there
            "cost",  # of timed calls, which are not stored
            "baseline", "held_out_ledger",  # looked at after measuring; a baseline has its own key
        }
    ),
    HeldOutSpec: frozenset({"families"}),  # divide the rows; the columns for it are `slices`
    GoldenSpec: frozenset({"tolerance"}),
    CodeRef: frozenset({"file"}),  # where `text` leads on this machine
}  # fmt: skip
"""The fields that are not in the key, by class."""


def described(value: Any) -> Any:
    """Values of JSON; two of them are equal only where a run cannot tell them apart.

    A mapping becomes a list of pairs, because the order of a factory's arguments may count, under a name
    that tells it from a list of pairs. A place in
    the spec becomes None; that there is one may count.

    Raises:
        UnprovedError: a value of another kind, which nobody has thought about.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Location):
        return None
    if isinstance(value, PathRef):
        return value.display
    if isinstance(value, Mapping):
        return {"mapping": [[described(key), described(one)] for key, one in value.items()]}
    if isinstance(value, tuple | list):
        return [described(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        left_out = LEFT_OUT.get(type(value), frozenset())
        return {
            field.name: described(getattr(value, field.name))
            for field in fields(value)
            if field.name not in left_out
        }
    raise UnprovedError(f"a value of the spec is a {type(value).__name__}")
