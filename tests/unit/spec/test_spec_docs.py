"""docs/spec.md is true: its specs load, its fragments fit the schema, its tables are the program's."""

import json
import re
from math import isinf
from pathlib import Path

import pytest
import yaml

from model_eval.spec import load_spec, schema, source
from model_eval.spec.catalog import CATALOG, COST, METRICS
from model_eval.spec.heldout_section import SUFFIXES
from model_eval.spec.metric_refs import DEFAULTS
from model_eval.types import Task

TEXT = (Path(__file__).parents[3] / "docs" / "spec.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
WHOLE = [block for block in BLOCKS if block.startswith("version:")]
FRAGMENTS = [block for block in BLOCKS if not block.startswith("version:")]


def test_there_are_blocks():
    assert len(WHOLE) >= 4
    assert len(FRAGMENTS) >= 3


@pytest.mark.parametrize("text", WHOLE)
def test_whole_specs_load(text, tmp_path):
    # Empty files will do: what is in them is not for the spec to know.
    for name in re.findall(r"[\w/]+\.(?:py|parquet|csv|pt|pth|safetensors)\b", text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "data" / "images").mkdir(parents=True, exist_ok=True)
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    assert load_spec(tmp_path / "spec.yaml", roots=[tmp_path]).gates


@pytest.mark.parametrize("text", FRAGMENTS)
def test_fragments_fit_the_schema(text, shared_workspace):
    whole = {
        **yaml.safe_load(shared_workspace.valid),
        **source.parse(text.encode(), file="f").value,
    }
    assert schema.check(source.parse(json.dumps(whole).encode(), file="f").root) == []


def test_every_key_is_documented():
    for name, definition in [("", schema.schema()), *schema.schema()["$defs"].items()]:
        for key in definition.get("properties", {}):
            assert re.search(rf"\b{key}\b", TEXT), f"{name}.{key}"


def test_every_word_is_documented():
    for definition in schema.schema()["$defs"].values():
        for key, value in definition.get("properties", {}).items():
            for word in value.get("enum", []):
                assert re.search(rf"\b{word}\b", TEXT), f"{key}: {word}"


@pytest.mark.parametrize("name", CATALOG | COST)
def test_the_table_of_metrics(name):
    info = METRICS[name]
    tasks = ", ".join(task for task in Task if task in info.tasks)
    low = "−∞" if isinf(info.low) else f"{info.low:g}"  # noqa: RUF001  # as it is printed
    high = "∞" if isinf(info.high) else f"{info.high:g}"
    assert f"| `{name}` | {tasks} | {low} to {high} | {info.summary} |\n" in TEXT


@pytest.mark.parametrize("task", Task)
def test_the_table_of_defaults(task):
    assert f"| {task} | {', '.join(f'`{name}`' for name in DEFAULTS[task])} |\n" in TEXT


def test_every_extension_is_documented():
    assert all(f"{suffix}`" in TEXT for suffix in SUFFIXES if suffix != ".npy")


def test_limits_are_documented():
    assert (
        f"at most {source.MAX_BYTES // 1024} KiB and nested at most {source.MAX_DEPTH} deep" in TEXT
    )
