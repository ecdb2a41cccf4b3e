"""Serves the encoder until SIGTERM; every setting is an environment variable."""

from __future__ import annotations

import sys

from searchmesh_common.lifecycle import run
from searchmesh_encoder.server import build_server
from searchmesh_encoder.settings import PREFIX, EncoderSettings


def main() -> int:
    """Return the process's exit code; see `lifecycle.run`."""
    return run("searchmesh-encoder", EncoderSettings, PREFIX, build_server)


if __name__ == "__main__":
    sys.exit(main())
