"""What the documentation shows is true: its YAML is valid, its commands run, its links lead somewhere."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from builders.reports import ROOT
from model_eval.errors import SpecError
from model_eval.spec import load_spec

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "tests/README.md"])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def blocks(language):
    found = []
    for path in DOCUMENTS:
        source = path.read_text()
        for match in _BLOCK.finditer(source):
            if match.group(1) == language:
                line = source[: match.start()].count("\n") + 2
                found.append(
                    pytest.param(path, match.group(2), id=f"{path.relative_to(ROOT)}:{line}")
                )
    return found


@pytest.mark.parametrize(("path", "text"), blocks("yaml"))
def test_yaml_means_something(path, text):
    document = yaml.safe_load(text)
    assert document is not None
    if isinstance(document, dict) and "jobs" in document:
        assert_workflow(document)


def assert_workflow(document):
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    for job in document["jobs"].values():
        for step in job.get("steps", []):
            if "model-eval-action@" in step.get("uses", ""):
                unknown = set(step.get("with", {})) - set(inputs)
                assert not unknown, f"the action has no inputs {unknown}"


def test_no_shard_of_an_earlier_attempt_is_joined():
    """Artifacts outlive an attempt: that of a shard which failed in this one is an older one."""
    workflows = [
        yaml.safe_load(text) for _, text in (b.values for b in blocks("yaml")) if "shards: " in text
    ]
    [steps] = [
        one["jobs"]["model-eval"]["steps"] for one in workflows if "model-eval" in one["jobs"]
    ]
    guards = {step["if"]: step for step in steps if "needs.shards.result" in step.get("if", "")}
    cleared = guards["${{ needs.shards.result != 'success' }}"]
    assert "rm -rf shards" in cleared["run"]  # which the repository may have, too
    [download] = [step for step in steps if "download-artifact" in step.get("uses", "")]
    assert download is guards["${{ needs.shards.result == 'success' }}"]
    assert download["with"]["path"] == "shards"


def test_the_spec_of_the_readme_is_one(tmp_path):
    [text] = [
        t
        for p, t in (block.values for block in blocks("yaml"))
        if p.name == "README.md" and "gates:" in t
    ]
    for name in ("model.py", "checkpoints", "data"):
        (tmp_path / name).symlink_to(ROOT / "examples/digits" / name)
    (tmp_path / "model-eval.yaml").write_text(text)
    try:
        spec = load_spec(tmp_path / "model-eval.yaml", roots=[tmp_path, ROOT])
    except SpecError as error:
        pytest.fail(str(error))
    assert spec.name == "digits-cnn"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    missing = [
        link for link in _LINK.findall(path.read_text()) if not (path.parent / link).exists()
    ]
    assert missing == []


def commands():
    for parameter in blocks("sh"):
        _, text = parameter.values
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                yield pytest.param(line, id=f"{parameter.id} {line[:40]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_run(line, tmp_path):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
        return
    assert words[0] == "model-eval", f"nothing here knows how to run {words[0]!r}"
    words = [str(tmp_path / w) if words[i - 1] == "--output" else w for i, w in enumerate(words)]
    expected = re.search(r"#.*exit (\d)", line)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "model_eval", *words[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (int(expected.group(1)) if expected else 0), done.stdout + done.stderr


def test_the_exit_codes_are_the_same_everywhere():
    def table(path):
        return re.findall(r"^\| (\d) \| (.*?) \| (.*?) \|$", Path(path).read_text(), re.MULTILINE)

    readme, architecture = table(ROOT / "README.md"), table(ROOT / "docs/architecture.md")
    assert readme == architecture
    assert [code for code, _, _ in readme] == ["0", "1", "2", "3", "4"]


def test_schemas_are_schemas():
    import jsonschema

    for path in sorted((ROOT / "schemas").glob("*.json")):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))
