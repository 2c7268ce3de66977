"""No process outlives what it was started for, whatever it does to be left alone."""

import os
import subprocess
import sys

import pytest

from model_eval.processes import children, none_left_behind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")

HIDES = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    for _ in range(2):
        if os.fork() != 0:
            break
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(60)
while True:
    with open(sys.argv[1], "a+") as file:
        file.seek(0)
        if len(file.readlines()) == 3:
            break
"""


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_hides_is_ended(tmp_path):
    noted = tmp_path / "noted"
    with none_left_behind():
        subprocess.run([sys.executable, "-c", HIDES, str(noted)], check=True, timeout=60)
        hidden = [int(one) for one in noted.read_text().split()]
        assert all(map(is_there, hidden))
    assert len(hidden) == 3
    assert not any(map(is_there, hidden))


def test_a_process_that_was_there_before_stays():
    before = subprocess.Popen(["sleep", "60"])
    try:
        assert before.pid in children()
        with none_left_behind():
            pass
        assert before.poll() is None
    finally:
        before.kill()
        before.wait()
