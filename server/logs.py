"""Log lines: text for people, JSON for machines; the request's id in each."""

import asyncio
import logging
import sys
import time
from contextlib import nullcontext
from typing import TextIO

import orjson

from protocols.times import iso, now
from server.middleware import request_id
from settings import Settings


class TextLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        record.request = request_id.get()
        return super().format(record)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": iso(now()),
            "level": record.levelname,
            "logger": record.name,
            "requestId": request_id.get(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class Turnwise(logging.Handler):
    """Lines leave together at the end of a loop turn: one write, however many requests it answered."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # another thread, or the loop has ended
                self.flush()

    def flush(self) -> None:
        with self.lock or nullcontext():
            lines, self._lines = self._lines, []
        if lines:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()

    def line(self, text: str) -> None:
        """A ready line, from the loop's own thread."""
        self._lines.append(text)
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.flush)


class AccessLines:
    """A line a request, made by itself: through `logging` it would cost a tenth of an empty request."""

    def __init__(self, handler: Turnwise, as_json: bool) -> None:
        self._line, self._as_json = handler.line, as_json
        self._second, self._at = 0, ""

    def __call__(self, number: str, method: str, path: str, status: int, took_ms: float) -> None:
        """`path` without its query, which may hold a token."""
        if self._as_json:
            line: dict[str, object] = {"at": iso(now()), "level": "INFO", "logger": "access", "requestId": number}
            line |= {"method": method, "path": path, "status": status, "ms": round(took_ms, 1)}
            self._line(orjson.dumps(line).decode())
            return
        second = int(time.time())
        if second != self._second:
            self._second, self._at = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        self._line(f"{self._at} INFO access [{number}] {method} {path} {status} {took_ms:.1f} ms")


def set_up(settings: Settings) -> AccessLines | None:
    """All log lines to stderr; answers who writes the requests' lines, None where the level leaves them out."""
    handler = Turnwise(sys.stderr)
    as_json = settings.log_format == "json"
    handler.setFormatter(JsonLines() if as_json else TextLines())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    # What no line of ours shows is not looked up: the caller's frame, the thread, the process.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for chatty in ("pymongo", "aiormq", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    return AccessLines(handler, as_json) if logging.getLogger().isEnabledFor(logging.INFO) else None
