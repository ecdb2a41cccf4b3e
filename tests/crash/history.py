"""What happened, to be told when something went wrong."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from threading import Lock
from typing import IO, Any


@dataclass
class History:
    """Events in order, each a line of JSON in a file."""

    file: IO[str]
    _began: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def note(self, event: str, **particulars: Any) -> None:
        line = {"at": round(time.monotonic() - self._began, 3), "event": event, **particulars}
        with self._lock:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
