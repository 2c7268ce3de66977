"""What a plain (unquoted) YAML scalar is: YAML 1.2's core schema, without its traps.

PyYAML's own rules are YAML 1.1's: `no` is False, `12:30:45` is 45045, `010` is 8 and `1e-3` is
text. Here `no` and `12:30:45` are text and `1e-3` is a number, as in YAML 1.2 and in editors.
What the two versions read as *different numbers* is refused.
"""

import re
from math import isfinite

MAX_INTEGER_DIGITS = 18

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_YAML_1_1_BOOLEANS = frozenset({"yes", "no", "on", "off"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)
_OTHER_BASE = re.compile(r"[-+]?0[xob][0-9a-fA-F_]+")
_UNDERSCORED = re.compile(r"[-+]?[0-9]+_[0-9_]*(?:\.[0-9_]*)?")
_TOO_LONG_TO_SHOW = 40


class ScalarError(ValueError):
    """The scalar has no meaning that everybody would agree on; says what is wrong and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar.

    Raises:
        ScalarError: a number that is not finite, has over 18 digits, or is written so that
            YAML 1.1 and 1.2 read it differently.
    """
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not isfinite(value):
            raise ScalarError(
                f"`{_short(text)}` is too large for a number",
                "write a smaller number, or put it in quotes for text",
            )
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError(
            f"`{text}` is not a finite number",
            "write a finite number, or put it in quotes for text",
        )
    if _OTHER_BASE.fullmatch(text) or _UNDERSCORED.fullmatch(text):
        raise ScalarError(
            f"`{_short(text)}` is a number in some YAML versions and text in others",
            "write it in plain decimal digits, or put it in quotes for text",
        )
    return text


def looks_boolean(text: str) -> bool:
    """True for `yes`, `no`, `on` and `off`: text here, booleans in YAML 1.1."""
    return text.lower() in _YAML_1_1_BOOLEANS


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0":
        raise ScalarError(
            f"`{_short(text)}` begins with a zero, which some YAML versions read as octal",
            "remove the leading zeros, or put it in quotes for text",
        )
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ScalarError(
            f"`{_short(text)}` has {len(digits)} digits, and at most "
            f"{MAX_INTEGER_DIGITS} are allowed",
            "write a smaller number, or put it in quotes for text",
        )
    return int(text)


def _short(text: str) -> str:
    if len(text) <= _TOO_LONG_TO_SHOW:
        return text
    return text[: _TOO_LONG_TO_SHOW - 1] + "…"
