"""Runs a module as `python -m` does, and stops it when whoever started it is gone.

    python -m searchmesh.tethered MODULE [ARGUMENT …]

Standard input is the tether: the starter holds its other end open and writes nothing. However the
starter ends, kill -9 included, the kernel closes that end, and the module gets SIGTERM, then
SIGKILL where it takes too long. Unlike prctl's parent-death signal this works on every POSIX system
and does not depend on which thread started the process.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_GRACE_SECONDS = 30.0


def _stop_when_cut() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module that the arguments name."""
    threading.Thread(target=_stop_when_cut, name="tether", daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
