"""The catalogue promises what the registry computes, and nothing else."""

from model_eval.metrics.registry import REGISTRY
from model_eval.spec.catalog import CATALOG


def test_the_catalogue_and_the_registry_have_the_same_metrics():
    assert REGISTRY.keys() == CATALOG.keys()


def test_they_agree_on_which_metrics_have_parts():
    parts = {name for name, metric in REGISTRY.items() if metric.of_part is not None}
    assert parts == {name for name, info in CATALOG.items() if info.part is not None}
