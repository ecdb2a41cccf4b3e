from __future__ import annotations

import subprocess
import sys

import psutil
from encoder.processes import all_ended

_LEAVES_A_CHILD = """
import subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep, start_new_session=True, stdout=-3, stderr=-3).pid)
"""


def test_children_that_outlive_their_parent_in_a_session_of_their_own_are_ended() -> None:
    with all_ended():
        parent = [sys.executable, "-c", _LEAVES_A_CHILD]
        told = subprocess.run(parent, stdout=subprocess.PIPE, check=True, text=True)
        child = psutil.Process(int(told.stdout))
        assert child.is_running()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert not alive
