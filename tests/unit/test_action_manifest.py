"""action.yml, the host's scripts, the README and the publisher's settings say the same."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((REPOSITORY / "action.yml").read_text())
HOST = REPOSITORY / "entrypoint/host"
STEPS = [step for step in MANIFEST["runs"]["steps"] if "uses" not in step]
USED = [step for step in MANIFEST["runs"]["steps"] if "uses" in step]
OPTIONAL = {"MODEL_EVAL_PUBLISH_NETWORK"}
"""Read from the runner's own environment; docs/self-hosted.md has it."""


def script_of(step):
    return re.search(r"entrypoint/host/([a-z]+\.sh)\"$", step["run"])[1]


def used_by(script):
    return set(re.findall(r"MODEL_EVAL_[A-Z_]+", (HOST / script).read_text())) - OPTIONAL


@pytest.mark.parametrize("step", STEPS, ids=script_of)
def test_a_step_passes_what_its_script_reads_and_no_more(step):
    assert set(step.get("env", {})) == used_by(script_of(step))


@pytest.mark.parametrize("step", STEPS, ids=script_of)
def test_a_step_hands_over_without_expressions(step):
    """`${{ }}` in `run:` is code injection; without `exec` a cancellation does not arrive."""
    assert re.fullmatch(
        r'exec "\$BASH" "\$GITHUB_ACTION_PATH/entrypoint/host/[a-z]+\.sh"', step["run"]
    )
    assert step["shell"] == "bash"


@pytest.mark.parametrize("step", USED, ids=lambda step: step["id"])
def test_another_action_is_pinned_and_changes_no_verdict(step):
    assert re.fullmatch(r"actions/cache/(restore|save)@[0-9a-f]{40}", step["uses"])
    assert step["continue-on-error"] is True
    assert "token" not in str(step).lower()


def test_what_is_restored_is_what_was_kept():
    restore, keep = USED
    assert {key: restore["with"][key] for key in ("path", "key")} == keep["with"]


def test_every_script_is_a_step():
    scripts = {path.name for path in HOST.glob("*.sh")} - {"common.sh"}
    assert scripts == {script_of(step) for step in STEPS}


def test_every_input_is_used_and_described():
    text = (REPOSITORY / "action.yml").read_text()
    used = set(re.findall(r"\binputs\.([a-z-]+)", text))
    assert used == set(MANIFEST["inputs"])
    for name, declared in MANIFEST["inputs"].items():
        assert declared["description"].endswith("."), name
        assert declared.get("required") or "default" in declared, name


def test_only_the_steps_that_speak_to_github_have_the_token():
    holders = [script_of(step) for step in STEPS if "token" in str(step.get("env", {})).lower()]
    assert holders == ["base.sh", "publish.sh"]


def test_outputs_fail_closed():
    """A workflow with `continue-on-error` reads the outputs: empty must not look like a pass."""
    outputs = MANIFEST["outputs"]
    assert outputs["verdict"]["value"] == "${{ steps.publish.outputs.verdict || 'error' }}"
    assert outputs["exit-code"]["value"] == "${{ steps.publish.outputs.exit-code || '4' }}"


def test_outputs_are_those_that_publishing_sets():
    from builders.reports import report
    from model_eval.publish import step_outputs

    named = set(re.findall(r"steps\.publish\.outputs\.([a-z-]+)", str(MANIFEST)))
    assert named == set(step_outputs(report(), Path("report.json")))


def test_every_setting_is_forwarded_to_the_publisher():
    """Read by settings.py, set by the runner: forwarded, or left out for a reason."""
    settings = (REPOSITORY / "entrypoint/model_eval/settings.py").read_text()
    read = set(re.findall(r'"((?:GITHUB|MODEL_EVAL)_[A-Z_]+)"', settings))
    left_out = {
        "GITHUB_EVENT_PATH",  # lies among the runner's secrets; MODEL_EVAL_PULL_REQUEST says it
        "GITHUB_TOKEN",  # MODEL_EVAL_TOKEN
        "GITHUB_WORKSPACE",  # not mounted there
        "MODEL_EVAL_BASE_SHA",  # base.sh's
        "MODEL_EVAL_COMMENT_KEY",  # --comment-key
    }
    loop = re.search(r"for variable in (.*?); do", (HOST / "publish.sh").read_text(), re.DOTALL)
    forwarded = {name for name in re.findall(r"[A-Z_]{3,}", loop[1]) if not name.endswith("PROXY")}
    assert forwarded == read - left_out


def test_the_token_is_on_no_command_line():
    """`--env NAME` takes the value from the environment; `--env NAME=VALUE` shows it to everybody."""
    for path in HOST.glob("*.sh"):
        assert not re.search(r"\$\{?MODEL_EVAL_TOKEN", path.read_text()), path.name


def test_what_is_not_a_pull_request_has_no_base():
    (base,) = (step for step in STEPS if step.get("id") == "base")
    assert base["env"]["MODEL_EVAL_BASE_SHA"] == "${{ github.event.pull_request.base.sha }}"
    assert "if" not in base


def test_scripts_write_no_github_env():
    """It would leak into every later step of the job."""
    for path in HOST.glob("*.sh"):
        assert not re.search(r"GITHUB_(ENV|PATH|STATE)\b(?!\")", path.read_text()), path.name


def test_image_lock_names_digests():
    lines = (REPOSITORY / "image.lock").read_text().splitlines()
    entries = [line.split() for line in lines if line and not line.startswith("#")]
    assert {variant for variant, _ in entries} in (set(), {"cpu", "cuda"})
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", name) for _, name in entries)


def inputs_table():
    """The table of the README, from action.yml."""
    rows = ["| input | default | |", "|---|---|---|"]
    for name, declared in MANIFEST["inputs"].items():
        default = declared.get("default", "")
        shown = "required" if declared.get("required") else f"`{default}`" if default else ""
        rows.append(f"| `{name}` | {shown} | {' '.join(declared['description'].split())} |")
    return "\n".join(rows)


def outputs_table():
    rows = ["| output | |", "|---|---|"]
    for name, declared in MANIFEST["outputs"].items():
        rows.append(f"| `{name}` | {' '.join(declared['description'].split())} |")
    return "\n".join(rows)


@pytest.mark.parametrize("table", [inputs_table, outputs_table])
def test_the_readme_has_the_tables_of_the_manifest(table):
    """Where it fails: paste `inputs_table()` or `outputs_table()` into README.md."""
    assert table() in (REPOSITORY / "README.md").read_text()
