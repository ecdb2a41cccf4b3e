"""Structured logs on standard error: a JSON object a line, or a line for a person at a terminal.

    log.info("model loaded", extra=fields(model=name, seconds=round(seconds, 3)))

Every line written while a call is served carries its request id.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from searchmesh_common import call_context
from searchmesh_common.server_settings import LogFormat, LogLevel

if TYPE_CHECKING:
    from typing import TextIO


_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


def fields(**values: object) -> dict[str, Any]:
    """What a line says beside its message, for the `extra` of a logging call."""
    return {"fields": values}


def configure(level: LogLevel, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream`, standard error unless another is given."""
    # none of it is written, and a line at every call should cost as little as it can
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = {LogFormat.JSON: JsonFormatter, LogFormat.CONSOLE: ConsoleFormatter}[log_format]
    handler.setFormatter(formatter())
    logging.basicConfig(level=level.name, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_context(record),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _to_json(line)


class ConsoleFormatter(logging.Formatter):
    """Time, level and message, then the fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        pairs = "".join(f" {key}={value}" for key, value in _context(record).items())
        line = f"{time} {record.levelname:<7} {record.getMessage()}{pairs}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return line


def _context(record: logging.LogRecord) -> dict[str, object]:
    call = call_context.current()
    request_id = {"request_id": call.request_id} if call else {}
    return {**request_id, **getattr(record, "fields", {})}
