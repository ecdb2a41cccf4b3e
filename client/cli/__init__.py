"""The command line `searchmesh`."""

from searchmesh.cli.app import main

__all__ = ["main"]
