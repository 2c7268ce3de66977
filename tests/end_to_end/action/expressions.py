"""The part of GitHub's expression language that `action.yml` uses; all else is an error."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Functions = Mapping[str, Callable[[], bool]]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*)|(?P<operator>\|\||&&|==|!=|!|\(|\)))"
)
_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}


class ExpressionError(Exception):
    """The expression is outside of the supported part, or names what does not exist."""


def interpolate(text: str, contexts: Mapping[str, Any], functions: Functions | None = None) -> str:
    """Replaces every `${{ … }}` as the runner does."""
    return _TEMPLATE.sub(
        lambda match: _text(evaluate(match[1], contexts, functions or {})), str(text)
    )


def condition(text: str | None, contexts: Mapping[str, Any], functions: Functions) -> bool:
    """A step's `if`: without a status function in it, `success()` is asked too."""
    if text is None:
        return functions["success"]()
    inner = match[1] if (match := _TEMPLATE.fullmatch(str(text).strip())) else str(text)
    asks_status = any(re.search(rf"\b{name}\s*\(", inner) for name in functions)
    value = bool(evaluate(inner, contexts, functions))
    return value if asks_status else value and functions["success"]()


def evaluate(text: str, contexts: Mapping[str, Any], functions: Functions) -> Any:
    """The value of an expression."""
    tokens = _tokens(text)
    value = _either(tokens, contexts, functions)
    if tokens:
        raise ExpressionError(f"`{text.strip()}`: nothing is expected at `{tokens[0][1]}`")
    return value


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"`{text.strip()}`: not supported from `{text[position:]}`")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    return found


def _accept(tokens: list[tuple[str, str]], *operators: str) -> str | None:
    if tokens and tokens[0][0] == "operator" and tokens[0][1] in operators:
        return tokens.pop(0)[1]
    return None


def _either(tokens: list[tuple[str, str]], *scope: Any) -> Any:
    value = _both(tokens, *scope)
    while _accept(tokens, "||"):
        other = _both(tokens, *scope)
        value = value or other
    return value


def _both(tokens: list[tuple[str, str]], *scope: Any) -> Any:
    value = _comparison(tokens, *scope)
    while _accept(tokens, "&&"):
        other = _comparison(tokens, *scope)
        value = value and other
    return value


def _comparison(tokens: list[tuple[str, str]], *scope: Any) -> Any:
    value = _unary(tokens, *scope)
    if operator := _accept(tokens, "==", "!="):
        other = _unary(tokens, *scope)
        return (value == other) is (operator == "==")
    return value


def _unary(tokens: list[tuple[str, str]], contexts: Mapping[str, Any], functions: Functions) -> Any:
    if _accept(tokens, "!"):
        return not _unary(tokens, contexts, functions)
    if _accept(tokens, "("):
        value = _either(tokens, contexts, functions)
        if not _accept(tokens, ")"):
            raise ExpressionError("a parenthesis is not closed")
        return value
    if not tokens or tokens[0][0] == "operator":
        raise ExpressionError("the expression ends early")
    kind, text = tokens.pop(0)
    if kind == "string":
        return text[1:-1].replace("''", "'")
    if _accept(tokens, "("):
        if not _accept(tokens, ")") or text not in functions:
            raise ExpressionError(f"the call of `{text}` is not supported")
        return functions[text]()
    return _WORDS[text] if text in _WORDS else _look_up(text, contexts)


def _look_up(name: str, contexts: Mapping[str, Any]) -> Any:
    """A property; one that is not there is null, but a context or a step that is not is an error."""
    first, *rest = name.split(".")
    if first not in contexts:
        raise ExpressionError(f"there is no context `{first}`")
    value = contexts[first]
    if first in {"steps", "inputs"} and (not rest or rest[0] not in value):
        raise ExpressionError(f"`{name}`: there is no such step or input")
    for part in rest:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
