"""A web server of one file, which can break off and can be without ranges."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class FileServer(HTTPServer):
    """Serves `content` at every path."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges = True
        """Whether a part may be asked for."""
        self.break_off_after: int | None = None
        """Bytes after which the next answer breaks off."""
        self.starts: list[int] = []
        """Where each answer began."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        served = self.server
        wanted = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        start = wanted if served.ranges else 0
        if start and start >= len(served.content):
            self.send_error(416)
            return
        served.starts.append(start)
        rest = served.content[start:]
        self.send_response(206 if served.ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: served.break_off_after])
        served.break_off_after = None

    def log_message(self, *_arguments: object) -> None:
        """Not on standard error."""


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """Serve on a thread until the block ends."""
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
