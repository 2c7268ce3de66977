"""What the runner takes from a step: workflow commands in its log, and its file commands."""

import re
from dataclasses import dataclass
from pathlib import Path

_COMMAND = re.compile(r"::(?P<name>[\w-]+)(?P<properties> [^:]*?)?::(?P<data>.*)")


@dataclass(frozen=True)
class Command:
    """A workflow command that the runner would obey."""

    name: str
    properties: dict[str, str]
    data: str


def read_commands(log: str) -> list[Command]:
    """The commands in a log, but for those between `::stop-commands::` and its token."""
    found = []
    stopped_by = None
    for line in log.splitlines():
        match = _COMMAND.match(line.lstrip())
        if match is None:
            continue
        if stopped_by is not None:
            if match["name"] == stopped_by:
                stopped_by = None
            continue
        if match["name"] == "stop-commands":
            stopped_by = match["data"]
            continue
        pairs = (pair.split("=", 1) for pair in (match["properties"] or "").strip().split(","))
        properties = {pair[0].strip(): _unescape(pair[1]) for pair in pairs if len(pair) == 2}
        found.append(Command(match["name"], properties, _unescape(match["data"])))
    assert stopped_by is None, "the log ends with commands still stopped"
    return found


def read_outputs(path: Path) -> dict[str, str]:
    """`NAME=VALUE` and `NAME<<DELIMITER` lines; the last of a name counts."""
    outputs: dict[str, str] = {}
    lines = iter(path.read_text().splitlines())
    for line in lines:
        name, heredoc, delimiter = line.partition("<<")
        if heredoc and "=" not in name:
            value = []
            for inner in lines:
                if inner == delimiter:
                    break
                value.append(inner)
            else:
                raise ValueError(f"the output `{name}` is not closed")
            outputs[name] = "\n".join(value)
        elif line:
            name, equals, text = line.partition("=")
            if not equals:
                raise ValueError(f"not an output: {line}")
            outputs[name] = text
    return outputs


def _unescape(text: str) -> str:
    for escaped, plain in (
        ("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"),
    ):  # fmt: skip
        text = text.replace(escaped, plain)
    return text
