"""The Docker engine and the image under test."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]


def docker(
    *arguments: str, check: bool = True, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    """Runs docker and returns what it said."""
    result = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and result.returncode != 0:
        raise AssertionError(f"docker {arguments[0]} failed:\n{result.stdout}\n{result.stderr}")
    return result


@functools.cache
def _missing() -> str:
    if shutil.which("docker") is None or docker("version", check=False).returncode != 0:
        return "no Docker engine answers"
    if os.environ.get("MODEL_EVAL_TEST_IMAGE"):
        return ""
    return (
        "" if list((REPOSITORY / "wheels").glob("*.whl")) else "wheels/ is empty: run `make wheels`"
    )


def require_engine() -> None:
    """Skips where there is no engine; with `MODEL_EVAL_REQUIRE=container` that is a failure."""
    if reason := _missing():
        if "container" in os.environ.get("MODEL_EVAL_REQUIRE", "").split():
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def image() -> str:
    """The image of this tree, built without a network; or the one that MODEL_EVAL_TEST_IMAGE names."""
    require_engine()
    if given := os.environ.get("MODEL_EVAL_TEST_IMAGE"):
        return given
    tag = "model-eval:test"
    os.environ["DOCKER_BUILDKIT"] = "1"
    docker("build", "--network", "none", "--tag", tag, str(REPOSITORY))
    return tag
