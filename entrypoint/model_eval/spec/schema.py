"""The spec's value against `schemas/spec.schema.json`: every fault, in our own words.

jsonschema finds the faults. Its messages quote whole values and say nothing of what to do, so
none of them is relayed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_eval.errors import SpecError
from model_eval.spec.source import MAX_FAULTS, Node, Path_, dotted
from model_eval.spec.suggest import closest, did_you_mean, listed, synonym
from model_eval.types import Fault, Location
from model_eval.wording import printable

if TYPE_CHECKING:
    from jsonschema import ValidationError

_SCHEMA_FILE = Path(__file__).parent.parent / "schemas" / "spec.schema.json"

_NOUNS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}

_Check = Callable[..., "Iterator[ValidationError] | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaFault:
    """A fault, and what it means for the checks that follow.

    Attributes:
        path: what it makes unusable.
        meant: the key that a misspelt one was probably meant to be; it is not missing then.
        lacks: keys of which any would have prevented this fault.
    """

    fault: Fault
    path: Path_
    meant: Path_ | None = None
    lacks: tuple[Path_, ...] = ()


@cache
def schema() -> dict[str, Any]:
    """The schema itself."""
    loaded: dict[str, Any] = json.loads(_SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def check(root: Node) -> list[SchemaFault]:
    """Every fault that the schema finds, up to a bound, one for each slip."""
    errors = islice(_validator().iter_errors(root.value), MAX_FAULTS * 2)
    found = {
        (described.path, described.fault.message): described
        for error in errors
        for leaf in _leaves(error)
        for described in _describe(root, leaf)
    }
    meant = {fault.meant for fault in found.values()}
    return [fault for fault in found.values() if meant.isdisjoint(fault.lacks)]


@cache
def _validator() -> Any:
    # Here, because whatever needs the catalogue of metrics imports this package.
    from jsonschema import Draft202012Validator, validators

    # A list of wrong items would cost time for each; after the first few nobody reads on.
    few: dict[str, _Check] = {
        keyword: _first(Draft202012Validator.VALIDATORS[keyword])
        for keyword in ("items", "additionalProperties")
    }
    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    made = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        # jsonschema compares unhashable items pair by pair; `semantics` finds duplicates.
        {**few, "uniqueItems": _ignore},
        type_checker=checker,
    )
    return made(schema())


def _first(check: _Check) -> _Check:
    def limited(validator: Any, value: Any, instance: Any, of: Any) -> "Iterator[ValidationError]":
        limit = of.get("maxItems", of.get("maxProperties"))
        if limit is not None and isinstance(instance, (list, dict)) and len(instance) > limit:
            return iter(())  # that it is too long is a fault of its own
        return islice(check(validator, value, instance, of) or (), MAX_FAULTS)

    return limited


def _ignore(*_: Any) -> None:
    return None


def _is_integer(_: object, value: object) -> bool:
    """`1.0` is no integer here: a batch size or seed written so is a slip."""
    return isinstance(value, int) and not isinstance(value, bool)


def _leaves(error: "ValidationError") -> "Iterator[ValidationError]":
    """The errors worth telling: of alternatives, those of the one that was meant."""
    if error.validator != "anyOf" or "$comment" in _schema_of(error):
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    meant = [errors for errors in branches.values() if not any(map(_is_of_other_type, errors))]
    if not meant:
        yield error
        return
    for inner in meant[0]:
        inner.parent = error
        yield from _leaves(inner)


def _is_of_other_type(error: "ValidationError") -> bool:
    if error.relative_path:
        return False
    if error.validator == "anyOf":
        return all(map(_is_of_other_type, error.context or ()))
    wrong_enum = error.validator == "enum" and not isinstance(error.instance, str)
    return wrong_enum or error.validator == "type"


def _schema_of(error: "ValidationError") -> dict[str, Any]:
    """The schema that was not met; none of ours is a bare `true` or `false`."""
    return error.schema if isinstance(error.schema, dict) else {}


def _describe(root: Node, error: "ValidationError") -> Iterator[SchemaFault]:
    """An error in our words; several where jsonschema counts several slips as one."""
    path: Path_ = tuple(error.absolute_path)
    node = _at(root, path)
    rule, of = error.validator, _schema_of(error)
    value: Any = error.validator_value
    if rule == "required":
        yield from _missing(node, value, of)
    elif rule == "additionalProperties":
        yield from _unknown(node, of)
    elif rule == "dependentRequired":
        yield from _out_of_place(node, value)
    elif rule in {"not", "anyOf"} and "$comment" in of:
        what, _, remedy = of["$comment"].partition("; ")
        lacks = [(*path, key) for one in of.get("anyOf", ()) for key in one.get("required", ())]
        fault = _fault(node.key_location, f"`{node.name}` {what}", remedy)
        yield SchemaFault(path=path, fault=fault, lacks=tuple(lacks))
    elif isinstance(node.value, dict) and isinstance(error.instance, str):
        # From `propertyNames`: the key is at fault, and is in the error only as its instance.
        key = node.child(error.instance)
        yield SchemaFault(
            path=key.path,
            fault=_fault(
                key.key_location,
                f"the key {show(error.instance)} in `{node.name}` cannot be used",
                "write a name in one plain line",
            ),
        )
    else:
        message, remedy = _value_fault(node, error)
        yield SchemaFault(path=path, fault=_fault(node.location, message, remedy))


def _missing(node: Node, required: list[str], of: dict[str, Any]) -> Iterator[SchemaFault]:
    for key in required:
        if key in node.value:
            continue
        example = _example(of["properties"][key])
        fault = _fault(
            node.key_location,
            f"`{key}` is missing{_inside(node)}",
            f"add `{key}: {example}`" if example else f"add `{key}:`",
        )
        path = (*node.path, key)
        yield SchemaFault(path=path, fault=fault, lacks=(path,))


def _unknown(node: Node, of: dict[str, Any]) -> Iterator[SchemaFault]:
    known = of["properties"]
    extras = (child for child in node.entries() if child.path[-1] not in known)
    free = [key for key in known if key not in node.value]
    for child in islice(extras, MAX_FAULTS):
        key = str(child.path[-1])
        best = closest(key, free)
        homes = [] if best else _homes(key.lower())
        if homes and homes != [dotted(node.path)]:
            remedy = "it belongs under " + " or ".join(f"`{home}`" for home in homes)
        else:
            others = (
                "the other keys here are" if 0 < len(free) < len(known) else "the keys here are"
            )
            remedy = did_you_mean(key, free or known, otherwise=others)
        yield SchemaFault(
            path=child.path,
            fault=_fault(
                child.key_location, f"unknown key `{printable(key)}`{_inside(node)}", remedy
            ),
            meant=(*node.path, best) if best else None,
        )


def _out_of_place(node: Node, needs: dict[str, list[str]]) -> Iterator[SchemaFault]:
    for key, needed in needs.items():
        if key in node.value and needed[0] not in node.value:
            child = node.child(key)
            yield SchemaFault(
                path=child.path,
                fault=_fault(
                    child.key_location,
                    f"`{child.name}` is only for a `{needed[0]}`",
                    f"remove `{key}`",
                ),
            )


def _inside(node: Node) -> str:
    return f" in `{node.name}`" if node.path else ""


def _fault(location: Location, message: str, remedy: str) -> Fault:
    return Fault(code=SpecError.code, message=message, remedy=remedy, location=location)


def _homes(key: str) -> list[str]:
    """The sections that have this key."""
    sections = ("model", "checkpoint", "heldout", "heldout.image", "run", "decisions")
    return [
        section
        for section in sections
        if key in schema()["$defs"][section.rpartition(".")[2]]["properties"]
    ]


def _value_fault(node: Node, error: "ValidationError") -> tuple[str, str]:
    """Message and remedy for a value that is there and wrong."""
    rule, of, value = error.validator, _schema_of(error), node.value
    limit: Any = error.validator_value
    name, shown = f"`{node.name}`", show(value)
    if rule == "pattern":
        what, _, remedy = of["$comment"].partition("; ")
        return f"{name} is {shown} and {what}", remedy
    if rule in {"type", "anyOf"}:
        return _wrong_type(node, error)
    if rule == "const":
        return f"{name} is {shown}", f"write `{json.dumps(limit)}`, the only one there is"
    if rule == "enum":
        return wrong_word(node, limit)
    if rule in {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"}:
        bounds = _bounds(of)
        return f"{name} is {shown}", f"write a number {bounds}"
    if rule in {"minLength", "minItems", "minProperties"}:
        if not value:
            needed = node.name in schema()["required"]
            return f"{name} is empty", "fill it" if needed else "fill it, or remove it"
        return f"{name} has {len(value)} of at least {limit} items", "add the others"
    if rule in {"maxLength", "maxItems", "maxProperties"}:
        unit = "characters" if rule == "maxLength" else "items"
        return f"{name} has {len(value)} {unit}", f"shorten it to at most {limit}"
    return f"{name} is {shown}, which is not allowed", "see docs/spec.md"


def _wrong_type(node: Node, error: "ValidationError") -> tuple[str, str]:
    wanted = list(dict.fromkeys(_types(error)))
    value = node.value
    message = f"`{node.name}` is {show(value)} and must be {' or '.join(_NOUNS[t] for t in wanted)}"
    if value is None:
        return f"`{node.name}` has no value", "give it one, or remove it"
    if "string" in wanted and isinstance(value, (bool, int, float)):
        return message, "put it in quotes if it is text"
    if wanted[0] in {"number", "integer"}:
        if isinstance(value, str) and _is_number(value):
            return message, "remove the quotes"
        if isinstance(value, float) and value.is_integer():
            return message, f"write `{int(value)}`"
        return message, f"write {_NOUNS[wanted[0]]}"
    if wanted == ["array"] and isinstance(value, (str, int, float)):
        return message, f"write `[{printable(str(value), 40)}]`"
    example = _example(_schema_of(error))
    return message, f"for example `{example}`" if example else "see docs/spec.md"


def _types(error: "ValidationError") -> Iterator[str]:
    if error.validator == "type":
        yield str(error.validator_value)
    elif error.validator == "enum":
        yield "string"
    else:
        for inner in error.context or ():
            if not inner.relative_path:
                yield from _types(inner)


def wrong_word(node: Node, words: Sequence[str]) -> tuple[str, str]:
    """Message and remedy for a value that is none of the words."""
    value = node.value
    message = f"`{node.name}` is {show(value)}"
    if not isinstance(value, str):
        return f"{message} and must be one word", f"write one of {listed(words)}"
    if best := synonym(value, words) or closest(value, words):
        return message, f"did you mean `{best}`?"
    return message, f"write one of {listed(words)}"


def _bounds(of: dict[str, Any]) -> str:
    low, above = of.get("minimum"), of.get("exclusiveMinimum")
    high = of.get("maximum")
    start = f"of at least {low}" if low is not None else f"above {above}"
    if (below := of.get("exclusiveMaximum")) is not None:
        return f"{start} and below {below}"
    if high is None:
        return start
    return f"from {low} to {high}" if low is not None else f"{start} and at most {high}"


def _example(of: dict[str, Any]) -> str | None:
    """The schema's first example, as YAML in one line."""
    while "examples" not in of and "$ref" in of:
        of = schema()["$defs"][of["$ref"].rpartition("/")[2]]
    if "examples" not in of:
        return None
    return _flow(of["examples"][0])


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def show(value: Any) -> str:
    """A value as people know it: `"text"`, `5`, `true`, `a list`."""
    if isinstance(value, str):
        return f'"{printable(value, 60)}"'
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else json.dumps(value)


def _at(root: Node, path: Path_) -> Node:
    node = root
    for key in path:
        node = node.child(key)
    return node
