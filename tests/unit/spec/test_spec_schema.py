"""The schema that editors use, and what the program does, must say the same."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from model_eval.spec import schema
from model_eval.spec.catalog import CATALOG, CONFUSION_MATRIX, COST, EXPANDING, metrics_of
from model_eval.spec.eval_spec import CostSpec
from model_eval.spec.heldout_section import SUFFIXES
from model_eval.spec.metric_refs import DEFAULTS
from model_eval.spec.params import PARAMS
from model_eval.types import OutputKind, Severity, Task

SCHEMA = schema.schema()
DEFS = SCHEMA["$defs"]


def nodes(node, path=""):
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in children:
        if isinstance(child, (dict, list)):
            yield from nodes(child, f"{path}/{key}")


def mappings():
    return [(path, node) for path, node in nodes(SCHEMA) if isinstance(node, dict)]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def test_it_is_the_file_in_schemas():
    file = Path(__file__).parents[3] / "schemas" / "spec.schema.json"
    assert json.loads(file.read_text(encoding="utf-8")) == SCHEMA


def test_every_mapping_of_ours_is_closed():
    for path, node in mappings():
        if "properties" in node and not path.endswith("/properties"):
            assert node.get("additionalProperties") is False, path


def test_every_key_has_a_title_and_a_description():
    for path, node in mappings():
        if not path.endswith("/properties"):
            continue
        for key, value in node.items():
            found = dict(value)
            while "$ref" in found and not {"title", "description"} <= found.keys():
                found = {**DEFS[found.pop("$ref").rpartition("/")[2]], **found}
            assert found.get("title"), f"{path}/{key}"
            assert found.get("description"), f"{path}/{key}"


def test_examples_and_defaults_are_valid():
    checked = 0
    for path, node in mappings():
        if path.endswith(("/properties", "/examples")) or "/examples/" in path:
            continue
        validator = Draft202012Validator({**node, "$defs": DEFS})
        for example in [
            *node.get("examples", []),
            *([node["default"]] if "default" in node else []),
        ]:
            assert list(validator.iter_errors(example)) == [], f"{path}: {example}"
            checked += 1
    assert checked > 40


def test_no_pattern_nests_quantifiers():
    patterns = [node["pattern"] for _, node in mappings() if isinstance(node.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        assert not re.search(r"[*+}]\)[*+{]", pattern), pattern


def test_rules_have_a_message_and_a_remedy():
    for path, node in mappings():
        if "$comment" in node:
            what, _, remedy = node["$comment"].partition("; ")
            assert what, path
            assert remedy, path
        elif {"pattern", "not"} & node.keys() and not path.endswith("/properties"):
            pytest.fail(f"{path} has a rule without a message")


def test_metrics_are_those_of_the_catalogue():
    known = [*CATALOG, *COST, *sorted(EXPANDING), CONFUSION_MATRIX]
    assert DEFS["metric_name"]["enum"] == known
    assert {name for task in Task for name in metrics_of(task)} == set(known)


def test_words_are_those_of_the_program():
    assert SCHEMA["properties"]["task"]["enum"] == list(Task)
    assert DEFS["model"]["properties"]["output"]["enum"] == list(OutputKind)
    assert DEFS["gate"]["properties"]["severity"]["enum"] == list(Severity)
    formats = DEFS["heldout"]["properties"]["format"]["enum"]
    assert set(formats) == {*SUFFIXES.values(), "image_folder"}


def test_default_metrics_are_available_and_whole():
    for task in Task:
        assert set(DEFAULTS[task]) <= set(metrics_of(task))
        for name in DEFAULTS[task]:
            assert not (CATALOG[name].needs_part and task is Task.MULTICLASS)


def test_defaults_are_those_of_the_program(shared_workspace):
    spec = shared_workspace.load(
        shared_workspace.valid.replace("multiclass", "binary").replace(", eel", "")
    )
    run = {key: value["default"] for key, value in DEFS["run"]["properties"].items()}
    assert run == {
        "device": spec.run.device,
        "precision": spec.run.precision,
        "batch_size": spec.run.batch_size or "auto",
        "memory_format": spec.run.memory_format,
        "compile": spec.run.compile,
        "seed": spec.run.seed,
        "stop_early": spec.run.stop_early,
    }
    cost = {key: value["default"] for key, value in DEFS["cost"]["properties"].items()}
    assert CostSpec(**cost) == spec.cost
    assert SCHEMA["properties"]["control"]["default"] == spec.control
    assert SCHEMA["properties"]["threshold"]["default"] == spec.threshold
    assert DEFS["gate"]["properties"]["severity"]["default"] == spec.gates[0].severity
    images = shared_workspace.load(
        re.sub(
            r"path: heldout.csv(\n  (inputs|target|id).*)+", "path: images", shared_workspace.valid
        )
    ).heldout.image
    assert DEFS["image"]["properties"]["mode"]["default"] == images.mode
    assert DEFS["image"]["properties"]["interpolation"]["default"] == images.interpolation


def test_parameters_are_those_of_the_catalogue():
    for param in PARAMS.values():
        found = DEFS[param.name]
        low = "exclusiveMinimum" if param.above_low else "minimum"
        high = "exclusiveMaximum" if param.below_high else "maximum"
        assert (found[low], found[high]) == (param.low, param.high)
        assert found["type"] == ("integer" if param.whole else "number")
        assert found.get("default") == param.default
        assert found["examples"] == [param.example]
        assert param.admits(param.example)
        for mapping in (DEFS["metric"]["anyOf"][1], DEFS["gate"]):
            assert mapping["properties"][param.name] == {"$ref": f"#/$defs/{param.name}"}
    known = {param.name: param for info in CATALOG.values() for param in info.params}
    assert known == PARAMS
    assert all(
        list(info.params) == sorted(info.params, key=lambda param: param.name)
        for info in CATALOG.values()
    )
