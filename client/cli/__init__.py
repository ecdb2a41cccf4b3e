"""The command line `searchmesh`."""

import os

# the command line says itself what went wrong; gRPC's own log would stand between its lines.
# Read when gRPC is imported, hence before it is
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from searchmesh.cli.app import main

__all__ = ["main"]
