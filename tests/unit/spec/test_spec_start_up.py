"""A wrong spec is answered before anything slow is imported; what that saves is in benchmarks.speed."""

import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2] / "cases"

PROGRAM = """
import sys
from pathlib import Path
before = set(sys.modules)
from model_eval.spec import load_spec
load_spec(Path(sys.argv[1]), roots=[Path(sys.argv[2])])
print(*sorted(sys.modules.keys() - before))
"""

NEEDED = {
    "attr", "attrs", "jsonschema", "jsonschema_specifications", "referencing", "rpds",  # jsonschema's
    "model_eval", "yaml",
}  # fmt: skip
# jsonschema imports these where they are installed, and pyarrow the last.
OPTIONAL = {"fqdn", "idna", "isoduration", "jsonpointer", "rfc3339_validator", "rfc3986_validator",
            "rfc3987", "rfc3987_syntax", "typing_extensions", "uri_template", "webcolors",
            "cloudpickle"}  # fmt: skip
SLOW = {"asyncio", "email", "http", "multiprocessing", "sqlite3", "ssl", "unittest", "xml"}


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("smallest", set()),
        ("safetensors", set()),
        ("regression", set()),
        ("image-folder", set()),
        ("unreadable-header-is-left-to-the-reader", set()),
        ("parquet", {"numpy", "pyarrow"}),
    ],
)
def test_start_up(name, readers):
    spec = CASES / "accepted" / "specs" / f"{name}.yaml"
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, spec, CASES],
        check=True,
        capture_output=True,
        text=True,
    )
    found = {module.partition(".")[0] for module in done.stdout.split()}
    packages = {one for one in found - sys.stdlib_module_names if "cython" not in one}
    assert packages - OPTIONAL == NEEDED | readers
    assert readers or not found & SLOW  # NumPy and pyarrow import some of these
