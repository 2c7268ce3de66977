"""What the benchmark of speed shows of its results."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks.speed import plot, table

MACHINE = {"processor": "A CPU", "cores": 2, "memory_gib": 8, "load_before": 0.1, "system": "Linux"}


def contender(name, kind, ratio, **more):
    return {
        "name": name,
        "kind": kind,
        "seconds": ratio / 2,
        "ratio": ratio,
        "ratios": [ratio, ratio],
        "warm_up": 0.0,
        "own": None,
        "own_ratio": None,
        "values": {},
        "difference": None,
        **more,
    }


def case(found, *, quick=False):
    return {
        "date": "2026-01-01",
        "machine": MACHINE,
        "versions": {"torch": "2.13.0"},
        "quick": quick,
        "found": found,
    }


MLP = {
    "part": "classification",
    "rows": 1_000_000,
    "batch": 256,
    "threads": 1,
    "runs": 5,
    "contenders": [
        contender("forward passes alone, batch 256", "floor", 1.0),
        contender("peer <a>", "peer", 10.0, ratios=[9.0, 12.0], difference=7e-8),
        contender("model-eval: ledger, metrics, batch 256", "ours", 0.8, difference=0.0),
    ],
    "skipped": [{"name": "model-eval, compile", "why": "this version has no `run.compile`"}],
}


def test_the_table_of_a_case_is_whole():
    assert (
        table.markdown({"mlp": case([MLP])})
        == """\
# Speed, measured

Written by `make bench`; `benchmarks/README.md` says how to read it. **Bold** is model-eval.

## An MLP: ratios to the forward passes alone

MLP 64→128→10 (regression: 1). The floor is the forward passes alone, over batches already cut and in memory; \
it is measured again before each contender. Medians of the ratios, in brackets the smallest and largest. \
*Difference*: the largest one of a metric from scikit-learn's.

### classification: accuracy, macro precision, recall and F1; 1,000,000 rows, batch 256, 1 thread, 5 rounds

|                                            | ratio                 | s     | difference   |
|--------------------------------------------|-----------------------|-------|--------------|
| forward passes alone, batch 256            | 1.00                  | 0.500 |              |
| peer <a>                                   | 10.00 (9.00 to 12.00) | 5.000 | 7e-08        |
| **model-eval: ledger, metrics, batch 256** | 0.80                  | 0.400 | 0            |

Skipped: model-eval, compile (this version has no `run.compile`).

<sub>2026-01-01, A CPU, 2 cores, 8 GiB, load before 0.1; torch 2.13.0.</sub>
"""
    )


def test_an_accelerators_table_says_how_busy_it_was():
    part = {
        **MLP,
        "part": "ViT-B/16",
        "precision": "bf16",
        "rows": 2048,
        "shape": [3, 224, 224],
        "batch": 64,
        "device": "A GPU",
        "contenders": [
            contender("forward passes alone", "floor", 1.0, busy=0.987),
            contender(
                "model-eval, batch auto",
                "ours",
                1.05,
                values={"batch_size": 128.0},
                busy=None,
                difference=2e-2,
                changed_predictions=3,
            ),
        ],
        "skipped": [],
    }
    shown = table.markdown({"accelerator": case([part])})
    assert "### ViT-B/16, bf16; 2,048 images of 3x224x224, batch 64, A GPU, 5 rounds\n" in shown
    assert "| forward passes alone             | 1.00    | 0.500 | 99%    |" in shown
    assert (
        "| **model-eval, batch auto** (128) | 1.05    | 0.525 |        | 2e-02        | 3" in shown
    )


def test_quick_results_say_that_they_mean_nothing():
    assert "**Quick: too small to mean anything.**" in table.markdown(
        {"mlp": case([MLP], quick=True)}
    )


@pytest.mark.parametrize(("value", "shown"), [(0.0, "exact"), (7e-18, "exact"), (4e-8, "4e-08")])
def test_an_error_below_the_last_place_is_none(value, shown):
    found = {
        "part": "auroc",
        "rows": 10,
        "threads": 2,
        "runs": 1,
        "contenders": [
            {
                "name": "a",
                "kind": "peer",
                "seconds": 1.0,
                "extra_mib": 10.0,
                "error": value,
                "error_of_probabilities": None,
            }
        ],
    }
    assert f"| a  | 1.000 | 10    | {shown:5}   |" in table.markdown({"auroc": case([found])})


def test_the_plot_has_a_bar_for_all_but_floors_ours_first():
    root = ET.fromstring(plot.drawn({"mlp": case([{**MLP, "threads": 2}, MLP])}))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert texts[0] == "MLP, 1,000,000 rows: accuracy, macro precision, recall, F1 (1 thread)"
    assert texts[1:5] == ["model-eval: metrics", "0.80", "peer <a>", "10.00"]
    ours, peer = (bar for bar in root.iter(f"{space}rect") if bar.get("class") in {"ours", "peer"})
    assert (ours.get("class"), peer.get("class")) == ("ours", "peer")
    (floor,) = (
        float(line.get("x1")) for line in root.iter(f"{space}line") if line.get("class") == "floor"
    )
    # Below the floor a bar ends at its line, above it begins there.
    assert float(ours.get("x")) + float(ours.get("width")) == pytest.approx(floor, abs=0.1)
    assert float(peer.get("x")) == pytest.approx(floor, abs=0.1)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("model-eval, batch 256", True),
        ("model-eval, batch 64", False),
        ("model-eval, batch auto, channels_last, bf16", True),
        ("model-eval, batch 256, channels_last, bf16", False),
    ],
)
def test_the_plot_leaves_other_batch_sizes_to_the_table(name, shown):
    part = {**MLP, "part": "resnet18", "contenders": [contender(name, "ours", 0.5)]}
    assert (plot.drawn({"resnet": case([part])}) is not None) == shown


def test_there_is_no_plot_of_nothing():
    assert plot.drawn({}) is None
