import pytest

from end_to_end.action.commands import read_commands, read_outputs
from end_to_end.action.expressions import ExpressionError, condition, evaluate, interpolate

CONTEXTS = {"inputs": {"a-b": "x", "empty": ""}, "steps": {"s": {"outputs": {"n": "1"}}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.a-b", "x"),
        ("inputs.empty || 'it''s'", "it's"),
        ("steps.s.outputs.n == '1' && !false", True),
        ("steps.s.outputs.n != '1'", False),
        ("steps.s.outputs.missing", None),
        ("(inputs.empty || null) == null", True),
    ],
)
def test_values(text, value):
    assert evaluate(text, CONTEXTS, {}) == value


@pytest.mark.parametrize(
    "text",
    ["inputs.typo", "steps.typo.outputs.n", "secrets.X", "toJSON(inputs)", "1 + 1", "(true", ""],
)
def test_what_is_not_supported_is_an_error(text):
    with pytest.raises(ExpressionError):
        evaluate(text, CONTEXTS, {})


def test_interpolation_writes_null_as_nothing():
    assert interpolate("[${{ steps.s.outputs.no }}${{ inputs.a-b }}]", CONTEXTS) == "[x]"


def test_a_condition_without_a_status_function_asks_for_success():
    failed = {"always": lambda: True, "success": lambda: False}
    assert condition("${{ always() }}", CONTEXTS, failed) is True
    assert condition("inputs.a-b == 'x'", CONTEXTS, failed) is False
    assert condition(None, CONTEXTS, failed) is False


def test_commands_between_stop_and_its_token_are_not_obeyed():
    log = (
        "::error file=a%2Cb,line=1::one%0Atwo\n::stop-commands::t\n::error::x\n::t::\n ::notice::n"
    )
    assert [(c.name, c.properties, c.data) for c in read_commands(log)] == [
        ("error", {"file": "a,b", "line": "1"}, "one\ntwo"),
        ("notice", {}, "n"),
    ]


def test_the_last_value_of_an_output_counts(tmp_path):
    (tmp_path / "o").write_text("a=1\nb<<E\nx=1\ny\nE\na=2\n")
    assert read_outputs(tmp_path / "o") == {"a": "2", "b": "x=1\ny"}
