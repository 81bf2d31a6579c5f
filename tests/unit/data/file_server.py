from __future__ import annotations

from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler


@dataclass
class FileServer:
    """A web server with one file, and the faults that a test asks for.

    Args:
        content: the file.
        has_range: whether requests for a part are understood.
        cut_after: bytes after which the connection breaks, one entry per request; None lets it finish.
        statuses: HTTP status of the first requests instead of an answer.
        etag: version of the file.
    """

    url: str = ""
    content: bytes = b""
    has_range: bool = True
    cut_after: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    etag: str = '"1"'
    ranges: list[str | None] = field(default_factory=list)
    served: list[int] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.ranges.append(request.headers.get("Range"))
        if self.statuses:
            request.send_error(self.statuses.pop(0))
            return
        start = self._start(request)
        if start > 0 and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("ETag", self.etag)
        request.send_header("Content-Length", str(len(self.content) - start))
        request.end_headers()
        cut = self.cut_after.pop(0) if self.cut_after else None
        body = self.content[start:][:cut]
        request.wfile.write(body)
        self.served.append(len(body))

    def _start(self, request: BaseHTTPRequestHandler) -> int:
        wanted = request.headers.get("Range")
        if not self.has_range or wanted is None or request.headers.get("If-Range", self.etag) != self.etag:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))
