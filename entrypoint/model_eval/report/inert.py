r"""Text from outside (names, labels, messages) made harmless in Markdown.

A code span is the one place where GitHub neither mentions, links, renders HTML nor emphasises;
`\@` outside of one still mentions. So everything that is not ours goes into a code span.
"""

import unicodedata


def code(text: str, *, limit: int = 120) -> str:
    """A code span with the text in it: one line, no backticks, cut to `limit` characters.

    Control and direction-changing characters become `�`. In a table pipes need an escape even
    inside code spans, which is the table's affair.
    """
    plain = plain_line(text, limit=limit).replace("`", "'")
    return f"`{plain}`" if plain else "` `"


def plain_line(text: str, *, limit: int) -> str:
    """One line without control characters, cut to `limit` characters with an ellipsis."""
    line = " ".join(text.split())
    line = "".join(c if _harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def block(text: str, *, limit: int = 4000) -> str:
    """A fenced code block; the fence is longer than any run of backticks in the text."""
    lines = [plain_line_keeping_spaces(line) for line in text[:limit].splitlines()]
    if len(text) > limit:
        lines.append("…")
    body = "\n".join(lines)
    fence = "```"
    while fence in body:
        fence += "`"
    return f"{fence}text\n{body}\n{fence}"


def plain_line_keeping_spaces(line: str) -> str:
    """A line of a block: control characters replaced, white space as it is."""
    return "".join(c if _harmless(c) else "\N{REPLACEMENT CHARACTER}" for c in line)


def _harmless(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
