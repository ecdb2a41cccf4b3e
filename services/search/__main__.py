"""Serves the search service until SIGTERM, or backs up or restores its state; every setting is an
environment variable.
"""

from __future__ import annotations

import sys

from searchmesh_common.lifecycle import run
from searchmesh_search.backups.commands import BACKUP, RESTORE
from searchmesh_search.server import build_server
from searchmesh_search.settings import PREFIX, SearchSettings


def main() -> int:
    """Return the process's exit code; see `lifecycle.run`."""
    return run(
        "searchmesh-search", SearchSettings, PREFIX, build_server, commands=(BACKUP, RESTORE)
    )


if __name__ == "__main__":
    sys.exit(main())
