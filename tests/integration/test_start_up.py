"""What a whole run of the digits example imports: torch, and little else."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"

PROGRAM = """
import subprocess, sys
from model_eval.cli import main
status = main(["run", sys.argv[1], "--in-process"])
plain = subprocess.run([sys.executable, "-c", "import sys, torch; print(*sys.modules)"],
                       capture_output=True, check=True, text=True).stdout.split()
further = {name.partition(".")[0] for name in sys.modules.keys() - set(plain)}
slow = {"pyarrow.compute", "pyarrow.dataset", "torch._dynamo", "torch._inductor"} & sys.modules.keys()
packages = further - set(sys.stdlib_module_names)
print("status", status, *sorted(slow | packages))
"""

EXPECTED = {
    "attr", "attrs", "jsonschema", "jsonschema_specifications", "referencing", "rpds",  # jsonschema's
    "model_eval", "msgspec", "numpy", "pyarrow", "safetensors", "tabulate", "torch", "tqdm",
    "yaml",
}  # fmt: skip


@pytest.mark.skipif(
    tuple(map(int, version("torch").split(".")[:2])) < (2, 13),
    reason="torch before 2.13 imports sympy for itself",
)
def test_what_a_run_imports_beyond_torch():
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, DIGITS / "model-eval.yaml"],
        capture_output=True,
        text=True,
        check=True,
    )
    word, status, *found = done.stdout.splitlines()[-1].split()
    assert (word, status) == ("status", "0")
    # Where they are installed: idna by jsonschema, cloudpickle by pyarrow, Cython's shared types.
    optional = {"idna", "cloudpickle", "cython_runtime", "webcolors", "rfc3987"}
    small = {
        name
        for name in found
        if name in optional
        or name.startswith(("_cython", "model_eval_user", "_yaml", "_sysconfig"))
    }
    assert set(found) - small - EXPECTED == set()
