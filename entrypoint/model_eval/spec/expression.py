"""Conditions on columns: a small part of Python's expressions, parsed and never executed.

`evaluate` works on anything that has the operators, such as NumPy arrays; nothing of Python is in
reach of an expression: no attribute, no call but `abs` and `column`, no name but a column's.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_NODES = 200

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class ExpressionError(ValueError):
    """The text is no condition; the message says why, as a clause."""


def parse(text: str) -> tuple[ast.expr, frozenset[str]]:
    """The expression and the columns that it names.

    Raises:
        ExpressionError: it is not Python's syntax, or uses more of it than conditions need.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError("is not a condition that can be read") from error
    nodes = list(ast.walk(tree))
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"has more than {MAX_NODES} parts")
    if any(isinstance(node, ast.Constant) and isinstance(node.value, bool) for node in nodes):
        raise ExpressionError("has a truth value, which a column has as text: `flag == 'true'`")
    names = frozenset(_names(tree))
    if not names:
        raise ExpressionError("names no column")
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ExpressionError("is a value and not a condition")
    return tree, names


def evaluate(tree: ast.expr, columns: Mapping[str, Any]) -> Any:
    """The value of a parsed expression, element by element."""
    match tree:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return columns[name]
        case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))]):
            return columns[name]
        case ast.Call(func=ast.Name(id="abs"), args=[inner]):
            return abs(evaluate(inner, columns))
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return ~_truth(evaluate(inner, columns))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -evaluate(inner, columns)
        case ast.BoolOp(op=junction, values=values):
            parts = [_truth(evaluate(value, columns)) for value in values]
            join = operator.and_ if isinstance(junction, ast.And) else operator.or_
            found = parts[0]
            for part in parts[1:]:
                found = join(found, part)
            return found
        case ast.BinOp(left=left, op=sign, right=right):
            return _ARITHMETIC[type(sign)](evaluate(left, columns), evaluate(right, columns))
        case ast.Compare(left=left, ops=signs, comparators=others):
            return _compare(left, signs, others, columns)
    raise ExpressionError("cannot be evaluated")


def _compare(
    left: ast.expr,
    signs: Sequence[ast.cmpop],
    others: Sequence[ast.expr],
    columns: Mapping[str, Any],
) -> Any:
    found: Any = True
    before = evaluate(left, columns)
    for sign, other in zip(signs, others, strict=True):
        if isinstance(sign, ast.In | ast.NotIn):
            items = [evaluate(item, columns) for item in other.elts]  # type: ignore[attr-defined]
            for item in items:
                _require_same_kind(before, item)
            step: Any = before == items[0]
            for item in items[1:]:
                step = step | (before == item)
            found = found & (~step if isinstance(sign, ast.NotIn) else step)
            continue
        after = evaluate(other, columns)
        _require_same_kind(before, after)
        found = found & _COMPARISONS[type(sign)](before, after)
        before = after
    return found


def _require_same_kind(left: Any, right: Any) -> None:
    """Text is never equal to a number, so that such a condition is the same for every sample."""
    if _holds_text(left) is not _holds_text(right):
        raise ExpressionError("compares text with a number; text stands in quotes: `target != '0'`")


def _holds_text(value: Any) -> bool:
    return isinstance(value, str) or getattr(getattr(value, "dtype", None), "kind", "") in {
        "O",
        "U",
    }


def _truth(value: Any) -> Any:
    if getattr(getattr(value, "dtype", None), "kind", None) != "b":
        raise ExpressionError("joins what is not true or false")
    return value


def _names(tree: ast.expr) -> list[str]:
    """The columns that are named; refuses whatever `evaluate` does not know."""
    match tree:
        case ast.Constant(value=bool() | int() | float() | str()):
            return []
        case ast.Name(id=name):
            return [name]
        case ast.Call(
            func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]
        ):
            return [name]
        case ast.Call(func=ast.Name(id="abs"), args=[inner], keywords=[]):
            return _names(inner)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=inner):
            return _names(inner)
        case ast.BoolOp(values=values):
            return [name for value in values for name in _names(value)]
        case ast.BinOp(left=left, op=sign, right=right) if (
            # Text times a number would be as much text as somebody likes.
            type(sign) in _ARITHMETIC and not (_is_text(left) or _is_text(right))
        ):
            return _names(left) + _names(right)
        case ast.Compare(left=left, ops=signs, comparators=others):
            found = _names(left)
            for comparison, other in zip(signs, others, strict=True):
                found += _compared(comparison, other)
            return found
    raise ExpressionError(
        f"uses `{ast.unparse(tree)[:60]}`; conditions have comparisons, and, or, not, in, "
        "arithmetic, abs and column('name')"
    )


def _is_text(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Constant) and isinstance(tree.value, str)


def _compared(sign: ast.cmpop, other: ast.expr) -> list[str]:
    if isinstance(sign, ast.In | ast.NotIn):
        items = other.elts if isinstance(other, ast.List | ast.Tuple | ast.Set) else []
        if items and not any(name for item in items for name in _names(item)):
            return []
        raise ExpressionError("has `in` without a list of values behind it")
    if type(sign) not in _COMPARISONS:
        raise ExpressionError("compares with `is`; write `==`")
    return _names(other)
