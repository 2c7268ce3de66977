"""The names that a checkpoint may and may not hold."""

import collections
import pickle

import pytest
import torch

from model_eval.checkpoint import pickle_scan


def test_everything_that_torch_writes_for_tensors_is_allowed():
    # The scan must not refuse what torch's own list has for tensors, dtypes and storages.
    theirs = torch._weights_only_unpickler._get_allowed_globals()
    refused = {name for name in theirs if not pickle_scan._ALLOWED.fullmatch(name)}
    tensor_classes = {f"{t.__module__}.{t.__name__}" for t in torch._tensor_classes}
    assert refused <= tensor_classes | {"builtins.bytearray"}, refused


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.hub.load",
        "torch._utils._import_dotted_name", "torch.jit.load", "torch.storage._load_from_bytes",
        "collections.OrderedDict.fromkeys", "xtorch.Size", "torch.Size\n", "torch.serialization.load",
        "builtins.bytearray", "torch.FloatTensor", "functools.partial",
    ],
)  # fmt: skip
def test_nothing_else_is(name):
    assert not pickle_scan._ALLOWED.fullmatch(name)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("os.system", True), ("subprocess.Popen", True), ("builtins.exec", True),
        ("functools.partial", True), ("runpy.run_path", True), ("builtins.slice", False),
        ("argparse.Namespace", False), ("pathlib.PosixPath", False), ("numpy.dtype", False),
        ("collections.defaultdict", False), ("their.module.Config", False),
    ],
)  # fmt: skip
def test_what_is_called_code(name, code):
    assert pickle_scan._is_code(name) is code


def test_the_allowed_containers_are_what_pickles_call_them():
    for value in (collections.OrderedDict(a=1), collections.Counter("ab"), {1}, 1j):
        found = pickle_scan._Found()
        for opcode, argument, _ in pickle_scan.pickletools.genops(pickle.dumps(value, protocol=2)):
            pickle_scan._note(found, opcode.name, argument, None)
        assert all(pickle_scan._ALLOWED.fullmatch(name) for name in found.names)
