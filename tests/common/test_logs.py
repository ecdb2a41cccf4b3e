"""Log lines are one line each and carry their fields."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from searchmesh_common import logs
from searchmesh_common.server_settings import LogFormat, LogLevel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(log_format: LogFormat) -> str:
    stream = io.StringIO()
    logs.configure(LogLevel.INFO, log_format, stream)
    log = logging.getLogger("searchmesh.test")
    log.debug("not written")
    try:
        int("two\nlines")
    except ValueError:
        log.exception("it\nbroke", extra=logs.fields(model="m", seconds=0.5))
    return stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    (line,) = written(LogFormat.JSON).splitlines()
    parsed = json.loads(line)
    assert (parsed["message"], parsed["level"], parsed["model"]) == ("it\nbroke", "error", "m")
    assert parsed["time"].endswith("+00:00")
    assert "ValueError: invalid literal" in parsed["exception"]


def test_console_shows_the_fields() -> None:
    first, *_ = written(LogFormat.CONSOLE).split("Traceback")
    assert "ERROR" in first
    assert "model=m seconds=0.5" in first
