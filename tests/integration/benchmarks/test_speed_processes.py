"""What the benchmark of speed measures in processes of their own."""

import os
import sys

import numpy as np
import pytest
import torch

from benchmarks.speed import auroc, growth, store
from benchmarks.speed.apart import Apart
from benchmarks.speed.child import in_child
from benchmarks.speed.contest import UnavailableError
from benchmarks.speed.data import labelled
from benchmarks.speed.memory import peak_extra
from benchmarks.speed.models import resnet18

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MIB = 2**20


def test_a_peak_is_seen_after_the_memory_is_freed():
    def use():
        return int(np.ones(100 * MIB, dtype=np.uint8).sum())

    extra, value = peak_extra(use)
    assert value == 100 * MIB
    assert 95 * MIB < extra < 130 * MIB
    small, _ = peak_extra(lambda: None)
    assert small < 20 * MIB  # the earlier peak is forgotten


def test_a_child_has_so_many_cores_and_threads(tmp_path, monkeypatch):
    module = tmp_path / "looks.py"
    module.write_text(
        "import os\n"
        "from benchmarks.speed.child import serve\n"
        "serve(lambda s: [len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'], s])\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    found = in_child("looks", {"rows": 5}, threads=1)
    assert found == [1, "1", {"rows": 5, "threads": 1}]
    with pytest.raises(ValueError, match="threads need as many cores"):
        in_child("looks", {}, threads=10_000)


def test_areas_have_times_peaks_and_errors(monkeypatch):
    monkeypatch.setattr(
        auroc,
        "CONTENDERS",
        {name: auroc.CONTENDERS[name] for name in ("model-eval", "torchmetrics")},
    )
    found = auroc.compare({"scores": 50_000, "runs": 1}, threads=1)
    ours, peer = found["contenders"]
    assert ours["seconds"] > 0
    assert ours["extra_mib"] > 0
    assert ours["error"] < 1e-15
    assert 1e-15 < peer["error_of_probabilities"] < 1e-6


def test_memory_is_of_the_ledger_and_more():
    (found,) = growth.compare(100_000, threads=1, tasks=("regression",))
    assert (found["part"], found["rows"]) == ("regression", [100_000, 200_000])
    # Ids, targets and predictions of eight bytes and a flag; the rounding is to a tenth of a MiB.
    assert found["ledger_mib"] == pytest.approx([2.38, 4.77], abs=0.051)
    assert found["peak_mib"][1] > found["ledger_mib"][1]


def test_the_project_of_the_resnet_passes(tmp_path):
    model = resnet18()
    x = torch.randn((40, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    store.write_project(tmp_path, labelled(model, x, "classification"), model)
    assert store.timed_run(tmp_path, "out", threads=1) > 0
    assert (tmp_path / "out/report.json").exists()


def test_ours_run_in_a_process_as_a_run_starts_it(tmp_path, monkeypatch):
    module = tmp_path / "beside.py"
    module.write_text(
        "import os, sys\n"
        "from benchmarks.speed.apart import answer, main\n"
        "from benchmarks.speed.contest import Contender, UnavailableError\n"
        "def rows(data):\n"
        "    return {'rows': len(data), 'kept': int(os.environ['MALLOC_TRIM_THRESHOLD_'])}\n"
        "def refuse(data):\n"
        "    raise UnavailableError('not here')\n"
        "class Data(list):\n"
        "    def first(self, rows):\n"
        "        return self[:rows]\n"
        "def there(settings):\n"
        "    answer([Contender(name='a', kind='ours', run=rows),\n"
        "            Contender(name='b', kind='ours', run=refuse, own='a')], Data(range(settings['n'])))\n"
        "main(lambda: None, there)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.getcwd()]))
    with Apart("beside", {"n": 7}) as apart:
        first, second = apart.contenders()
        assert (first.name, first.kind, first.own, second.own) == ("a", "ours", None, "a")
        apart.settle()
        assert first.run(range(7)) == {"rows": 7, "kept": 1 << 30}
        assert first.run(range(3))["rows"] == 3
        with pytest.raises(UnavailableError, match="not here"):
            second.run(range(7))
    with pytest.raises(ValueError, match="closed"):
        first.run(range(7))
