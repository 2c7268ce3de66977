"""Why coverage is not 94 to 96 %, in words, where it is known."""

_REASONS: dict[tuple[str, str], str] = {}


def reason_of(row: dict) -> str:
    """Of a row of the coverage table; says so where nobody has found out."""
    return _REASONS.get((row["population"], row["metric"]), "not explained yet")
