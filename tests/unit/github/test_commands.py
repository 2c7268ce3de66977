"""Workflow commands as the runner reads them: a parser of its rules is the reference here."""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_eval.errors import OutputError, PublishError
from model_eval.github.commands import (
    ANNOTATIONS_PER_LEVEL,
    MESSAGE_LIMIT,
    SUMMARY_LIMIT,
    Annotation,
    Level,
    annotate,
    annotations,
    append_summary,
    clip,
    escape_data,
    escape_property,
    group,
    set_outputs,
    stopped_commands,
    summary_room,
)
from model_eval.types import (
    Fault,
    GateResult,
    GateStatus,
    Location,
    Loosening,
    MetricRef,
    Report,
    Severity,
    Verdict,
)

PLACE = Location(file="eval/model-eval.yaml", line=31, column=5)
AT = "file=eval/model-eval.yaml,line=31,col=5"
REASON = "accuracy is 0.9, under the minimum 0.95"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@dataclass(frozen=True)
class Command:
    name: str
    properties: dict[str, str]
    data: str


def read_command(line: str) -> Command | None:
    """A line of output as the runner's `ActionCommand.TryParseV2` takes it."""
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, listed = line[2:end].partition(" ")
    pairs = [pair.split("=", 1) for pair in listed.strip().split(",") if pair]
    properties = {
        pair[0]: unescaped(pair[1], {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","})
        for pair in pairs
        if len(pair) == 2 and pair[1]
    }
    return Command(name, properties, unescaped(line[end + 2 :], {"%0D": "\r", "%0A": "\n"}))


def unescaped(text: str, codes: dict[str, str]) -> str:
    for code, character in codes.items():
        text = text.replace(code, character)
    return text.replace("%25", "%")


def read_outputs(text: str) -> dict[str, str]:
    """A file of outputs as the runner's `EnvFileKeyValuePairs` takes it on Linux."""
    outputs: dict[str, str] = {}
    index = 0
    while index < len(text):
        line, index = _line(text, index)
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            outputs[line[:equals]] = line[equals + 1 :]
            continue
        assert heredoc > 0, f"invalid format {line!r}"
        name, delimiter = line[:heredoc], line[heredoc + 2 :]
        assert delimiter
        start = end = index
        line, index = _line(text, index)
        while line != delimiter:
            assert index < len(text), "matching delimiter not found"
            end = index - 1
            line, index = _line(text, index)
        outputs[name] = text[start:end]
    return outputs


def _line(text: str, index: int) -> tuple[str, int]:
    end = text.find("\n", index)
    return (text[index:], len(text)) if end < 0 else (text[index:end], end + 1)


def gate(
    status: GateStatus, severity: Severity = Severity.REQUIRED, location: Location | None = PLACE
) -> GateResult:
    return GateResult(
        metric=MetricRef(name="accuracy"),
        bound="min",
        threshold=0.95,
        severity=severity,
        status=status,
        value=0.9,
        interval=None,
        margin=-0.05,
        n=100,
        blocks=severity is Severity.REQUIRED and status is not GateStatus.PASS,
        reason=REASON,
        location=location,
    )


def report(*gates: GateResult, faults: tuple[Fault, ...] = ()) -> Report:
    return Report(
        schema_version=1,
        name="digits",
        verdict=Verdict.FAIL,
        exit_code=1,
        reason="",
        model_eval="0",
        gates=gates,
        faults=faults,
    )


class TestEscaping:
    def test_data(self):
        assert escape_data("100%\r\nof: a, b") == "100%25%0D%0Aof: a, b"

    def test_property(self):
        assert escape_property("100%\r\nof: a, b") == "100%25%0D%0Aof%3A a%2C b"

    def test_what_is_escaped_already_is_escaped_again(self):
        assert escape_data("%0A") == "%250A"

    def test_control_characters_and_half_surrogates(self):
        assert escape_data("\x1b[31mred\x00 \ud800\tend") == "�[31mred� ?\tend"


class TestAnnotation:
    def test_with_a_place(self):
        found = Annotation(level=Level.ERROR, title="a: b", message="one\ntwo", location=PLACE)
        assert (
            str(found) == "::error file=eval/model-eval.yaml,line=31,col=5,title=a%3A b::one%0Atwo"
        )

    def test_without_a_place(self):
        found = Annotation(level=Level.WARNING, title="model-eval", message="50 % of it")
        assert str(found) == "::warning title=model-eval::50 %25 of it"

    @given(message=TEXT, title=TEXT, file=TEXT)
    def test_nothing_in_it_becomes_a_command_or_a_property(self, message, title, file):
        place = Location(file=file, line=1, column=2)
        line = str(Annotation(level=Level.ERROR, title=title, message=message, location=place))
        assert "\n" not in line
        assert "\r" not in line
        command = read_command(line)
        assert command is not None
        assert command.name == "error"
        assert set(command.properties) <= {"file", "line", "col", "title"}
        assert (command.properties["line"], command.properties["col"]) == ("1", "2")
        clean = message.translate(dict.fromkeys({*range(32), 127} - {9, 10, 13}, "�"))
        assert command.data == clip(clean, MESSAGE_LIMIT)

    def test_a_long_message_is_cut_to_what_github_shows(self):
        command = read_command(str(Annotation(level=Level.ERROR, title="t", message="%" * 5000)))
        assert command is not None
        assert len(command.data.encode()) == MESSAGE_LIMIT
        assert command.data == "%" * 4093 + "…"


class TestAnnotations:
    def test_faults(self):
        fault = Fault(
            code="spec", message="`taks` is no key", remedy="write `task`", location=PLACE
        )
        assert [str(one) for one in annotations(report(faults=(fault,)))] == [
            f"::error {AT},title=model-eval%3A spec::`taks` is no key; write `task`"
        ]

    def test_gates_that_did_not_pass_errors_first(self):
        gates = [
            gate(GateStatus.PASS),
            gate(GateStatus.FAIL, Severity.ADVISORY),
            gate(GateStatus.UNDECIDED, location=None),
            gate(GateStatus.FAIL),
        ]
        assert [str(one) for one in annotations(report(*gates))] == [
            f"::error title=model-eval%3A accuracy undecided::{REASON}",
            f"::error {AT},title=model-eval%3A accuracy fail::{REASON}",
            f"::warning {AT},title=model-eval%3A accuracy fail::{REASON}",
        ]

    def test_what_is_loosened(self):
        one = Loosening(what="gate a: min", base="0.9", head=None, reason="less", location=PLACE)
        known = replace(report(), loosened=(one,))
        text = f"{AT},title=model-eval%3A loosened::gate a: min (0.9 → nothing): less"
        assert [str(found) for found in annotations(known)] == [f"::error {text}"]
        allowed = replace(known, loosening_allowed=True)
        assert [str(found) for found in annotations(allowed)] == [f"::warning {text}"]

    def test_a_pass_is_silent(self):
        stream = io.StringIO()
        annotate(stream, annotations(report(gate(GateStatus.PASS))))
        assert stream.getvalue() == ""

    @pytest.mark.parametrize("count", [ANNOTATIONS_PER_LEVEL, ANNOTATIONS_PER_LEVEL + 1, 40])
    def test_never_more_than_github_shows(self, count):
        gates = [gate(GateStatus.FAIL)] * count + [gate(GateStatus.FAIL, Severity.ADVISORY)] * 3
        stream = io.StringIO()
        annotate(stream, annotations(report(*gates)))
        lines = stream.getvalue().splitlines()
        errors = [line for line in lines if line.startswith("::error ")]
        assert len(errors) == ANNOTATIONS_PER_LEVEL
        assert len(lines) == ANNOTATIONS_PER_LEVEL + 3
        left_out = f"::error title=model-eval::{count - 9} more are in the job summary"
        assert (errors[-1] == left_out) == (count > ANNOTATIONS_PER_LEVEL)


class TestGroups:
    def test_group(self):
        stream = io.StringIO()
        with group(stream, "evaluate\n::error::x"):
            stream.write("inside\n")
        assert stream.getvalue() == "::group::evaluate%0A::error::x\ninside\n::endgroup::\n"

    def test_group_ends_when_the_inside_fails(self):
        stream = io.StringIO()
        with pytest.raises(KeyError), group(stream, "g"):
            raise KeyError
        assert stream.getvalue() == "::group::g\n::endgroup::\n"

    def test_stopped_commands(self):
        stream = io.StringIO()
        with stopped_commands(stream, token=lambda: "secret"):
            stream.write("::add-mask::a")
        assert stream.getvalue() == (
            "::stop-commands::model-eval-secret\n::add-mask::a\n::model-eval-secret::\n"
        )

    def test_commands_start_again_when_the_inside_fails(self):
        stream = io.StringIO()
        with pytest.raises(SystemExit), stopped_commands(stream, token=lambda: "secret"):
            raise SystemExit
        assert stream.getvalue().endswith("\n::model-eval-secret::\n")

    def test_no_two_tokens_are_equal(self):
        stream = io.StringIO()
        for _ in range(2):
            with stopped_commands(stream):
                pass
        first, second = [line for line in stream.getvalue().splitlines() if "stop" in line]
        assert first != second
        assert len(first.rpartition("-")[2]) == 32


class TestOutputs:
    def test_the_file(self, tmp_path):
        file = tmp_path / "output"
        set_outputs(file, {"verdict": "fail", "exit-code": "1"}, token=lambda: "t")
        assert file.read_text() == (
            "verdict<<model_eval_t\nfail\nmodel_eval_t\nexit-code<<model_eval_t\n1\nmodel_eval_t\n"
        )

    @given(outputs=st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]*", fullmatch=True), TEXT))
    def test_the_runner_reads_what_was_set(self, tmp_path_factory, outputs):
        file = tmp_path_factory.mktemp("outputs") / "output"
        set_outputs(file, outputs)
        text = file.read_bytes().decode() if outputs else ""
        assert read_outputs(text) == outputs

    @pytest.mark.parametrize("before", [b"", b"a=b", b"a=b\n"])
    def test_what_others_set_before_stays(self, tmp_path, before):
        file = tmp_path / "output"
        file.write_bytes(before)
        set_outputs(file, {"verdict": "x<<y\n\nverdict=pass\n"})
        others = {"a": "b"} if before else {}
        assert read_outputs(file.read_text()) == {**others, "verdict": "x<<y\n\nverdict=pass\n"}

    @pytest.mark.parametrize("name", ["", "a b", "a=b", "a\nb", "1a", "a<<b", "ä", "verdict\n"])
    def test_a_name_that_is_none(self, tmp_path, name):
        with pytest.raises(ValueError, match="is not the name of an output"):
            set_outputs(tmp_path / "output", {"verdict": "pass", name: "x"})
        assert not (tmp_path / "output").exists()

    def test_a_value_with_the_delimiter(self, tmp_path):
        with pytest.raises(ValueError, match=r"^the value of the output 'a' holds the delimiter$"):
            set_outputs(tmp_path / "output", {"a": "\nmodel_eval_t\n"}, token=lambda: "t")
        assert not (tmp_path / "output").exists()

    def test_the_delimiter_cannot_be_guessed(self, tmp_path):
        set_outputs(tmp_path / "output", {"a": "", "b": ""})
        first, second = [
            line.partition("<<")[2]
            for line in (tmp_path / "output").read_text().splitlines()
            if "<<" in line
        ]
        assert first != second
        assert len(first) == len("model_eval_") + 32

    def test_a_file_that_cannot_be_written(self, tmp_path):
        with pytest.raises(OutputError) as raised:
            set_outputs(tmp_path / "missing" / "output", {"a": "b"})
        assert str(raised.value) == (
            "the file that `GITHUB_OUTPUT` names cannot be written: No such file or directory;"
            " make it writable, with room on its disk, or unset the variable"
        )


class TestSummary:
    def test_it_is_added_behind_what_is_there(self, tmp_path):
        file = tmp_path / "summary"
        file.write_text("# of another step")
        assert append_summary(file, "# ours")
        assert append_summary(file, "more\n")
        assert file.read_text() == "# of another step\n# ours\nmore\n"

    @pytest.mark.parametrize("before", [b"", b"of another step", b"of another step\n"])
    def test_what_has_room_is_written_whole(self, tmp_path, before):
        file = tmp_path / "summary"
        file.write_bytes(before)
        assert append_summary(file, "x" * summary_room(file))
        assert SUMMARY_LIMIT - 1 <= file.stat().st_size <= SUMMARY_LIMIT
        assert summary_room(file) == 0
        assert not append_summary(file, "x")

    @given(
        before=st.integers(SUMMARY_LIMIT - 400, SUMMARY_LIMIT + 10), letter=st.sampled_from("xé😀")
    )
    def test_the_file_never_outgrows_the_limit(self, tmp_path_factory, before, letter):
        file = tmp_path_factory.mktemp("summary") / "summary"
        file.write_bytes(b"-" * before)
        text = "".join(f"{number} {letter * 9}\n" for number in range(40))
        whole = append_summary(file, text)
        added = file.read_bytes()[before:].decode()
        assert before + len(added.encode()) <= max(SUMMARY_LIMIT, before)
        assert whole == (added == f"\n{text}")
        kept = added.removeprefix("\n").partition("\n\n_The summary is cut here")[0]
        assert text.startswith(kept)
        assert kept == "" or kept.endswith("\n")

    def test_a_cut_summary_says_so(self, tmp_path):
        file = tmp_path / "summary"
        file.write_bytes(b"-" * (SUMMARY_LIMIT - 120) + b"\n")
        assert not append_summary(file, "first\n" + "é" * 200 + "\n")
        assert file.read_bytes()[SUMMARY_LIMIT - 119 :].decode() == (
            "first\n\n\n_The summary is cut here: GitHub shows 1 MiB. The report has the rest._\n"
        )

    def test_a_full_summary_stays_as_it_is(self, tmp_path):
        file = tmp_path / "summary"
        file.write_bytes(b"-" * SUMMARY_LIMIT)
        assert not append_summary(file, "ours")
        assert file.stat().st_size == SUMMARY_LIMIT

    def test_a_file_that_cannot_be_written(self, tmp_path: Path):
        with pytest.raises(PublishError) as raised:
            append_summary(tmp_path, "x")
        assert raised.value.message == (
            "the file that `GITHUB_STEP_SUMMARY` names cannot be written: Is a directory"
        )


@given(text=TEXT, limit=st.integers(3, 40))
def test_clip_keeps_whole_characters(text, limit):
    cut = clip(text, limit)
    assert len(cut.encode()) <= limit
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
