"""The benchmark of speed times what it says, and its contenders compute the same."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.speed import accelerator, exact, floor, importtime, intervals, ours, utilisation
from benchmarks.speed.contest import Contender, UnavailableError, contest, largest_difference
from benchmarks.speed.data import METRICS, Held, labelled
from benchmarks.speed.models import mlp, resnet18, vit_b_16
from benchmarks.speed.peers import by_hand, sklearn, torchmetrics


class World:
    """A clock that contenders move, and what they were handed."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def contender(self, name, seconds, kind="peer", own=None):
        taken = iter(seconds)

        def run(data):
            self.calls.append((name, data))
            if data != "few":
                self.now += next(taken)
            return {"accuracy": 0.5}

        return Contender(name=name, kind=kind, run=run, own=own)

    def hold(self, base, *contenders, runs):
        return contest(
            base,
            contenders,
            "all",
            warm_up="few",
            runs=runs,
            clock=lambda: self.now,
            say=lambda _text: None,
            settle=lambda: None,
        )


def test_ratios_are_to_the_floor_just_before_and_medians_of_rounds():
    world = World()
    # The machine becomes slower: the floor takes 1, 2 and 4 s.
    base = world.contender("floor", [1.0, 2.0, 4.0], kind="floor")
    found, skipped = world.hold(base, world.contender("slow", [3.0, 4.0, 20.0]), runs=3)
    assert skipped == []
    first, second = (one.row() for one in found)
    assert (first["name"], first["seconds"], first["ratio"]) == ("floor", 2.0, 1.0)
    assert second == {
        "name": "slow",
        "kind": "peer",
        "seconds": 4.0,
        "ratio": 3.0,
        "ratios": [2.0, 5.0],
        "warm_up": 0.0,
        "own": None,
        "own_ratio": None,
        "values": {"accuracy": 0.5},
    }
    assert world.calls == [("floor", "few"), ("slow", "few")] + 3 * [
        ("floor", "all"),
        ("slow", "all"),
    ]


def test_a_contender_with_a_floor_of_its_own_has_two_ratios():
    world = World()
    base = world.contender("floor", [1.0] * 2, kind="floor")
    small = world.contender("small", [2.0] * 2, kind="floor")
    found, _ = world.hold(base, small, world.contender("ours", [2.2], own="small"), runs=1)
    row = found[-1].row()
    assert (row["ratio"], row["own"], row["own_ratio"]) == (2.2, "small", 1.1)


def test_what_is_quick_is_timed_more_often():
    world = World()
    base = world.contender("floor", [0.5, 0.25, 1.0, 0.5], kind="floor")
    quick, slow = world.contender("quick", [0.5, 0.5, 0.5]), world.contender("slow", [1.5])
    found, _ = world.hold(base, quick, slow, runs=1)
    assert [len(one.seconds) for one in found] == [4, 3, 1]
    assert sum(name == "slow" for name, data in world.calls if data == "all") == 1


def test_what_is_not_there_is_skipped_with_its_reason():
    def run(_data):
        raise UnavailableError("this version has no `run.compile`")

    world = World()
    found, skipped = world.hold(
        world.contender("floor", [1.0], kind="floor"),
        Contender(name="compiled", kind="ours", run=run),
        world.contender("peer", [2.0]),
        runs=1,
    )
    assert [one.contender.name for one in found] == ["floor", "peer"]
    assert [(one.contender.name, one.why) for one in skipped] == [
        ("compiled", "this version has no `run.compile`")
    ]


@pytest.mark.parametrize(("names", "runs"), [(("a", "a"), 1), (("a", "b"), 0)])
def test_names_must_differ_and_there_must_be_a_round(names, runs):
    world = World()
    with pytest.raises(ValueError, match="at least one round"):
        world.hold(
            world.contender("floor", []), *(world.contender(n, []) for n in names), runs=runs
        )


def test_differences_are_of_what_both_have():
    assert largest_difference({"a": 1.0, "b": 2.0}, {"b": 2.5, "c": 0.0}) == 0.5
    assert largest_difference({"a": 1.0}, {"b": 1.0}) is None


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_contenders_agree_with_scikit_learn(task):
    model = mlp(1 if task == "regression" else 10)
    x = torch.randn((3_000, 64), generator=torch.Generator().manual_seed(0))
    data = labelled(model, x, task)
    auroc = {"auroc": True} if task == "classification" else {}
    names = (*METRICS[task], *auroc)
    expected = sklearn.evaluate(model, data.slices(256), task, **auroc)
    rows = ours.ledger(model, data, ours.Options(batch=256))
    for found in (
        ours.values(rows, names),
        ours.with_intervals(rows, names),
        by_hand.sums(model, data.slices(256), task, **auroc),
        torchmetrics.evaluate(model, data.loader(256), task, **auroc),
    ):
        assert found.keys() == set(names)
        assert found == pytest.approx(expected, abs=1e-6)
    [(name, value)] = by_hand.plain(model, data.loader(256), task).items()
    assert value == pytest.approx(expected[name], abs=1e-6)


def test_what_this_machine_cannot_do_is_unavailable_and_not_left_out(monkeypatch):
    monkeypatch.setattr(ours.shutil, "which", lambda _name: None)
    data = Held(torch.zeros((4, 64)), torch.zeros(4, dtype=torch.int64), "classification")
    with pytest.raises(UnavailableError, match=r"there is no C\+\+ compiler"):
        ours.ledger(mlp(), data, ours.Options(compile=True))


def test_a_model_that_cannot_be_compiled_is_unavailable_and_not_run_eagerly(monkeypatch):
    class Broken(torch.nn.Module):
        def forward(self, _x):
            raise RuntimeError("no compiler")

    monkeypatch.setattr(ours.shutil, "which", lambda name: name)
    monkeypatch.setattr(ours, "_compiled", lambda _model: Broken())
    data = Held(torch.zeros((8, 64)), torch.zeros(8, dtype=torch.int64), "classification")
    with pytest.raises(UnavailableError, match=r"torch\.compile failed: .*no compiler"):
        ours.ledger(mlp(), data, ours.Options(batch=4, compile=True))


def test_whether_a_run_compiles_is_told():
    data = Held(torch.zeros((8, 64)), torch.zeros(8, dtype=torch.int64), "classification")
    _, found = ours.evaluated(mlp(), data, ours.Options(batch=ours.AUTO, compile=True))
    assert found["compiled"] == 0


def test_a_layout_of_ours_leaves_the_others_model_as_it_is():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    x = torch.randn((40, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    data = labelled(model, x, "classification")
    plain = ours.ledger(model, data, ours.Options(batch=16))
    laid = ours.ledger(model, data, ours.Options(batch=16, memory_format="channels_last"))
    assert model[0].weight.is_contiguous()
    assert laid["score"] == pytest.approx(plain["score"], abs=1e-5)


def test_an_automatic_batch_size_is_told_and_changes_no_value():
    x = torch.randn((3_000, 64), generator=torch.Generator().manual_seed(0))
    data = labelled(mlp(), x, "classification")
    fixed, stated = ours.evaluated(mlp(), data, ours.Options(batch=256))
    auto, found = ours.evaluated(mlp(), data, ours.Options(batch=ours.AUTO))
    assert stated == {"batch_size": 256}
    assert found["batch_size"] >= 1
    names = METRICS["classification"]
    assert ours.values(auto, names) == ours.values(fixed, names)
    # Ids, targets, predictions and losses of eight bytes, a flag, and twice ten numbers of four.
    assert ours.bytes_of(auto) == 3_000 * (4 * 8 + 1 + 2 * 10 * 4)


def test_slices_give_every_row_once_and_the_floor_runs_them():
    data = Held(torch.arange(10.0)[:, None], torch.arange(10), "classification")
    seen = []
    model = torch.nn.Identity()
    model.register_forward_hook(
        lambda _model, given, _outputs: seen.append(given[0][:, 0].tolist())
    )
    assert floor.forward(model, 4).run(data) == {}
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(data.slices(4)) == 3


def test_the_resnet_is_the_known_one():
    model = resnet18()
    # He et al.'s ResNet-18 with a 3x3 stem and ten classes, as published for CIFAR-10.
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    with torch.inference_mode():
        outputs = model(torch.randn(64, 3, 32, 32))
    assert outputs.shape == (64, 10)
    assert not model.training
    assert 0.01 < float(outputs.std()) < 100


def test_the_vision_transformer_is_the_known_one():
    model = vit_b_16(1000)
    # As torchvision documents its vit_b_16, with a head for the thousand classes of ImageNet.
    assert sum(p.numel() for p in model.parameters()) == 86_567_656
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 224, 224)).shape == (1, 1000)
    assert not model.training


def test_an_accelerators_contenders_agree_wherever_it_is(monkeypatch):
    few = accelerator.Case(build=resnet18, shape=(3, 8, 8), images=40, batch=16)
    monkeypatch.setattr(accelerator, "CASES", {"ResNet-18": few})
    asked = [("ResNet-18", precision) for precision in accelerator.PRECISIONS]
    parts = accelerator.measure(
        {"device": "cpu", "images": None, "runs": 1, "threads": 1, "parts": asked}
    )
    assert [(part["precision"], part["rows"]) for part in parts] == [("fp32", 40), ("bf16", 40)]
    for part in parts:
        floor_, copied, *others = part["contenders"]
        assert (floor_["kind"], floor_["ratio"], copied["kind"]) == ("floor", 1.0, "reference")
        assert {one["busy"] for one in part["contenders"]} == {None}
        assert {one["kind"] for one in others} == {"ours", "peer"}
        accuracies = [one["values"]["accuracy"] for one in others]
        assert accuracies == pytest.approx([accuracies[0]] * len(others), abs=2 / 40)
        low, high = (0, 1e-4) if part["precision"] == "fp32" else (1e-4, 0.5)
        assert all(low <= one["difference"] <= high for one in others if one["kind"] == "ours")


def test_the_share_of_time_in_which_a_device_was_busy_is_of_the_readings_inside():
    read = utilisation.read("3\n 80\n[N/A]\n100\n7\n99")  # the last line is not whole
    assert read == [3, 80, 100, 7]
    assert utilisation.Busy(read).share == 0.9
    assert utilisation.Busy([50, 50]).share is None


@pytest.mark.parametrize("level", [1e-6, 0.5])
def test_the_exact_area_is_scikit_learns(level):
    generator = np.random.default_rng(0)
    positive = generator.random(500) < 0.3
    score = np.round((generator.normal(size=500) + positive) / level) * level
    found = exact.auroc(score, positive)
    assert isinstance(found, Fraction)
    assert float(found) == pytest.approx(roc_auc_score(positive, score), abs=1e-15)
    rows = ours.binary_ledger(positive.astype(np.int64), score.astype(np.float64))
    assert ours.values(rows, ("auroc",))["auroc"] == pytest.approx(float(found), abs=1e-15)


@pytest.mark.parametrize("metric", intervals.METRICS)
def test_intervals_of_the_ways_agree(metric):
    rows = intervals.draw(metric, 2_000)
    low, high, _ = ours.interval(rows.ledger, metric, 1_000)
    for other in (
        ours.bootstrap(rows.ledger, metric, 1_000),
        intervals._scipy(rows, 200),
        intervals._torchmetrics(rows, 200),
    ):
        # Ends of 200 replicates have an error of about a tenth of the width.
        assert other[:2] == pytest.approx((low, high), abs=(high - low) / 3)


def test_import_times_are_read_and_added_up():
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 |     torch._C\n"
        "import time:        30 |        130 |   torch\n"
        "a warning of somebody\n"
        "import time:        20 |         20 |     yaml.loader\n"
        "import time:        50 |         70 |   yaml\n"
    )
    modules = list(importtime.read(text))
    assert modules[1] == importtime.Imported("torch", 30, 130)
    assert importtime.by_package(modules) == {"torch": 130, "yaml": 70}
    assert [one.name for one in importtime.dearest(modules, 1)] == ["yaml"]
