"""What was removed from the image (`image/slim.py`) is nothing that models, loaders or we need."""

import pytest

from end_to_end.test_container import python

pytestmark = pytest.mark.container

IMPORTS = [
    "torch", "torch.testing", "torch.export", "torch.fx", "torch.jit", "torch.onnx", "torch.package",
    "torch.ao.quantization", "torch.utils.checkpoint", "torch.utils.data", "torch.multiprocessing",
    "torch.distributed.run", "torch.distributed.fsdp", "torch.distributed.tensor",  # torchrun
    "torch._dynamo", "torch._inductor.compile_fx",  # torch.compile
    "numpy.testing", "numpy.random", "sympy", "networkx", "mpmath", "PIL.Image", "safetensors.torch",
    "pyarrow.parquet", "pyarrow.compute", "pyarrow.dataset", "pyarrow.csv", "pyarrow.json",
    "pyarrow.feather", "pyarrow.orc", "pyarrow.fs", "pyarrow.ipc",
    "yaml", "jsonschema", "msgspec", "tabulate", "tqdm", "github",
]  # fmt: skip

WORKS = """
import torch
from torch.utils.data import DataLoader
model, x = torch.nn.Linear(4, 2), torch.zeros(1, 4)
print(torch.distributed.is_available() and torch.distributed.is_gloo_available())
print(tuple(torch.compile(model, backend="aot_eager")(x).shape))
print(tuple(torch.export.export(model, (x,)).module()(x).shape))
print(tuple(torch.jit.script(model)(x).shape))
print(sum(len(batch) for batch in DataLoader(torch.arange(8), num_workers=2, batch_size=2)))
try:
    torch.zeros(1, 2) @ torch.zeros(3, 4)
except RuntimeError as error:  # whose C++ stack needs no symbols
    print(type(error).__name__)
"""


@pytest.mark.parametrize("name", IMPORTS)
def test_it_can_still_be_imported(image, name):
    assert python(image, f"import {name}; print('imported')") == "imported"


def test_it_still_works(image):
    found = python(image, WORKS).splitlines()
    assert found == ["True", "(1, 2)", "(1, 2)", "(1, 2)", "8", "RuntimeError"]


def test_torch_is_compiled_to_bytecode(image):
    """Of a file that every run imports, and of one that torch.compile does."""
    code = (
        "import importlib.util as u, os, torch, torch._dynamo.eval_frame as e\n"
        "print([os.path.isfile(u.cache_from_source(m.__file__)) for m in (torch, e)])"
    )
    assert python(image, code) == "[True, True]"
