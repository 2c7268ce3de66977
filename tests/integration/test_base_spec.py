"""`model-eval run --base-spec`: what is loosened fails, until whoever runs it allows that."""

import time
from contextlib import contextmanager

import pytest

from builders.projects import SPEC, Project, make_project
from model_eval.output import REPORT, read_report
from model_eval.report import from_json, to_json
from model_eval.run import BaseBranch, evaluate
from model_eval.types import Verdict

BASE = """
version: 1
name: sign
task: binary
model: {factory: "model.py:Net", output: logits}
checkpoint: {path: model.safetensors}
heldout:
  path: heldout.csv
  inputs: [{columns: [a, b], dtype: float32}]
  target: label
  count: 40
  disjoint_from: [train.csv]
run: {batch_size: 8}
threshold: 0.5
metrics: [accuracy]
gates:
  - {metric: accuracy, min: 0.9}
  - {metric: log_loss, max: 0.5}
"""

LOOSER = {
    "bound": ("accuracy, min: 0.9", "accuracy, min: 0.8", "gate accuracy: min"),
    "gate": ("  - {metric: log_loss, max: 0.5}\n", "", "gate log_loss"),
    "severity": ("max: 0.5", "max: 0.5, severity: advisory", "gate log_loss: severity"),
    "count": ("  count: 40\n", "", "heldout.count"),
    "path": ("path: heldout.csv", "path: easy.csv", "heldout.path"),
    "disjoint": ("  disjoint_from: [train.csv]\n", "", "heldout.disjoint_from"),
    "threshold": ("threshold: 0.5", "threshold: 0.4", "threshold"),
    "precision": ("batch_size: 8", "batch_size: 8, precision: bf16", "run.precision"),
    "seed": ("batch_size: 8", "batch_size: 8, seed: 3", "run.seed"),
    "transform": ("  count: 40\n", '  count: 40\n  transform: "data.py:same"\n', "heldout.transform"),
    "postprocess": ("output: logits", 'output: logits, postprocess: "data.py:same"', "model.postprocess"),
}  # fmt: skip


@contextmanager
def silence(_total):
    yield lambda _rows: None


class Changed(Project):
    """A project, and beside it the spec of the base branch."""

    @property
    def base(self):
        return self.folder.parent / "elsewhere" / "spec.yaml"


@pytest.fixture
def project(tmp_path):
    """The head's checkout, with files that one or the other spec names, and the base's spec apart."""
    project = Changed(make_project(tmp_path / "head", spec=BASE).folder)
    (project.folder / "easy.csv").write_text((project.folder / "heldout.csv").read_text())
    (project.folder / "train.csv").write_text("a,b,label\n90,90,1\n")
    (project.folder / "data.py").write_text("def same(x):\n    return x\n")
    project.base.parent.mkdir()
    project.base.write_text(BASE)
    return project


def judged(project, *, allowed=False, base=True):
    branch = BaseBranch(spec=project.base if base else None, allow_loosening=allowed)
    evaluation = evaluate(
        project.spec, roots=[project.folder], progress=silence, clock=time.monotonic, base=branch
    )
    assert from_json(to_json(evaluation.report)) == evaluation.report
    return evaluation.report


def write(project, old, new):
    assert BASE.count(old) == 1
    project.spec.write_text(BASE.replace(old, new))


@pytest.mark.parametrize(("old", "new", "what"), LOOSER.values(), ids=LOOSER)
def test_what_is_loosened_fails_unless_allowed(project, old, new, what):
    write(project, old, new)
    report = judged(project)
    assert report.reason == f"the spec asks for less than the base branch's: {what}"
    assert (report.verdict, report.exit_code) == (Verdict.FAIL, 1)
    assert [one.what for one in report.loosened] == [what]
    report = judged(project, allowed=True)
    assert (report.verdict, report.exit_code) == (Verdict.PASS, 0)
    assert [one.what for one in report.loosened] == [what]


@pytest.mark.parametrize("name", ["bound", "gate", "severity", "count", "disjoint"])
def test_what_is_tightened_passes(project, name):
    new, old, _ = LOOSER[name]
    assert BASE.count(new) == 1
    project.base.write_text(BASE.replace(new, old))
    report = judged(project)
    assert (report.verdict, report.loosened) == (Verdict.PASS, ())


def test_the_bases_gates_are_judged_on_the_same_samples(project):
    """A bound that this model misses, removed together with its metric."""
    project.base.write_text(BASE.replace("log_loss, max: 0.5", "log_loss, max: 0.0001"))
    write(project, "  - {metric: log_loss, max: 0.5}\n", "")
    report = judged(project)
    assert report.verdict is Verdict.FAIL
    (held,) = report.base_gates
    assert (held.metric.label, held.status, held.n) == ("log_loss", "fail", 40)
    assert judged(project, allowed=True).verdict is Verdict.PASS


def test_another_task_leaves_the_bases_gates_undecided(project):
    project.base.write_text(
        BASE.replace("binary", "regression").replace(", output: logits", "")
        .replace("threshold: 0.5\n", "").replace("[accuracy]", "[mae]")
        .replace("accuracy, min: 0.9", "mae, max: 0.9").replace("log_loss", "mse")
    )  # fmt: skip
    report = judged(project)
    assert report.verdict is Verdict.FAIL
    assert "task" in [one.what for one in report.loosened]
    assert [(g.status, g.reason) for g in report.base_gates] == [
        ("undecided", "the metric was not estimated")
    ] * 2


def test_a_failing_model_fails_for_itself(project):
    looser = BASE.replace("accuracy, min: 0.9", "accuracy, min: 0.8")
    project.spec.write_text(looser.replace("log_loss, max: 0.5", "log_loss, max: 0.0001"))
    report = judged(project)
    assert report.verdict is Verdict.FAIL
    assert report.reason == "1 of 2 required gates failed: log_loss"
    assert [one.what for one in report.loosened] == ["gate accuracy: min"]


def test_a_base_spec_may_name_files_that_this_commit_does_not_have(project):
    project.base.write_text(
        BASE.replace("model.safetensors", "old.pt")
        .replace("model.py:Net", "old/net.py:Net")
        .replace("[train.csv]", "[train.csv, gone.csv]")
    )
    report = judged(project)
    assert [(one.what, one.base) for one in report.loosened] == [
        ("heldout.disjoint_from", "train.csv, gone.csv")
    ]


def test_a_new_spec_is_said_to_be_new(project):
    report = judged(project, base=False)
    assert report.verdict is Verdict.PASS
    assert report.notes[0] == (
        "the base branch has no such spec, so nothing says what this one may not loosen"
    )


WRONG = "the base branch's spec is wrong, so there is nothing to hold this one against"


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (BASE.replace("accuracy, min", "acuracy, min"), ['model-eval.yaml (base):17:14: `gates[0].metric` is "acuracy"; did you mean `accuracy`?']),
        ("gates: [", None),
        ("", None),
        ("\0", None),
    ],
    ids=["fault", "half", "empty", "binary"],
)  # fmt: skip
def test_a_wrong_base_spec_is_an_error(project, text, faults):
    project.base.write_text(text)
    report = judged(project)
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 2)
    first, *others = map(str, report.faults)
    assert first == (
        f"{WRONG}: {len(others)} fault{'s' if len(others) > 1 else ''} below; "
        "correct it in the base branch, or allow loosening for this pull request"
    )
    assert others
    assert faults is None or others == faults
    report = judged(project, allowed=True)  # the pull request that corrects it
    assert (report.verdict, report.notes[0]) == (Verdict.PASS, WRONG)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_base_spec_that_cannot_be_read_is_an_error_whatever_is_allowed(project, allowed):
    project.base.unlink()
    report = judged(project, allowed=allowed)
    assert (report.verdict, report.exit_code) == (Verdict.ERROR, 2)
    assert report.faults[0].message == f"the spec `{project.base}` does not exist"


def test_what_was_loosened_is_known_also_where_nothing_was_judged(project):
    write(project, "accuracy, min: 0.9", "accuracy, min: 0.8")
    (project.folder / "model.safetensors").write_bytes(b"nothing")
    report = judged(project, allowed=True)
    assert report.verdict is Verdict.ERROR
    assert [one.what for one in report.loosened] == ["gate accuracy: min"]


def test_on_the_command_line(project):
    write(project, "accuracy, min: 0.9", "accuracy, min: 0.8")
    base = f"--base-spec={project.base}"
    done = project.run(base, GITHUB_ACTIONS="true")
    assert done.returncode == 1, done.stdout + done.stderr
    assert (
        "loosened            base    this\n"
        "------------------  ------  ------\n"
        "gate accuracy: min  0.9     0.8\n"
    ) in done.stdout
    assert (
        "::error file=model-eval.yaml,line=17,col=5,title=model-eval%3A loosened::"
        "gate accuracy: min (0.9 → 0.8): `min` of the gate asks for less than in the base branch\n"
    ) in done.stdout
    done = project.run(base, "--allow-loosening", GITHUB_ACTIONS="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loosened (allowed)  " in done.stdout
    assert "::warning file=model-eval.yaml,line=17," in done.stdout
    assert project.run("--new-spec").returncode == 0
    assert "the base branch has no such spec" in read_report(project.output / REPORT).notes[0]


def test_in_process(project):
    write(project, "accuracy, min: 0.9", "accuracy, min: 0.8")
    base = f"--base-spec={project.base}"
    assert project.run(base, "--in-process").returncode == 1
    assert project.run(base, "--in-process", "--allow-loosening").returncode == 0


def test_a_spec_is_new_or_has_a_base(project):
    done = project.run("--new-spec", f"--base-spec={project.base}")
    assert (done.returncode, done.stderr) == (
        2,
        (
            "model-eval run: argument --base-spec: not allowed with argument --new-spec; "
            "see `model-eval run --help`\n"
        ),
    )


@pytest.mark.parametrize("key", ["allow_loosening", "allow-loosening", "base_spec"])
def test_no_key_of_a_spec_allows_it(tmp_path, key):
    """Only who runs it may: a spec would allow itself."""
    project = make_project(tmp_path, spec=f"{SPEC}{key}: true\n")
    assert project.run().returncode == 2


ADVISORY = BASE.replace("count: 40", "count: 400").replace("max: 0.5", "max: 5") + (
    "decisions: {on_undecided: advisory, on_underpowered: warn}\n"
)


def mostly_right(project, base, head):
    """The report where the model has 368 of 400 rows right, from 0.889 to 0.944 at 95 %."""
    made = make_project(project.folder, spec=head, rows=400)
    header, *lines = (made.folder / "heldout.csv").read_text().splitlines()
    for row in range(0, 384, 12):
        lines[row] = f"{lines[row][:-1]}{1 - int(lines[row][-1])}"
    (made.folder / "heldout.csv").write_text("\n".join([header, *lines]) + "\n")
    project.base.write_text(base)
    return judged(project)


def bound(text, least, confidence=0.95):
    return text.replace("min: 0.9}", f"min: {least}}}").replace(
        "decisions: {", f"decisions: {{confidence: {confidence}, "
    )


def test_a_gate_that_fails_is_not_left_open_by_a_higher_confidence(project):
    same = bound(ADVISORY, 0.95)
    assert mostly_right(project, same, same).verdict is Verdict.FAIL
    report = mostly_right(project, same, bound(ADVISORY, 0.95, 0.999))
    assert (report.gates[0].status, report.gates[0].blocks) == ("undecided", False)
    assert (report.verdict, [one.what for one in report.loosened]) == (
        Verdict.FAIL,
        ["decisions.confidence"],
    )
    assert str(report.loosened[0].location).startswith("model-eval.yaml:19:")


def test_a_gate_of_the_base_that_is_open_and_does_not_block_takes_no_pass_away(project):
    base = bound(ADVISORY, 0.93)
    assert mostly_right(project, base, base).verdict is Verdict.PASS
    report = mostly_right(project, base, bound(ADVISORY, 0.935))
    assert [(gate.status, gate.blocks) for gate in report.base_gates] == [("undecided", False)]
    assert (report.verdict, report.loosened) == (Verdict.PASS, ())
