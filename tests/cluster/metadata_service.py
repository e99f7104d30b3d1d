"""What EC2's instance metadata service (version 2) says of spot notices, for tests: a token first, then the notice of this host.

The notice of a host is the file of its name in FOLDER, as it is; without one there is none. What was asked is written beside it.

python -m tests.cluster.metadata_service FOLDER PORT
"""

import secrets
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8169


class MetadataService(ThreadingHTTPServer):
    """On this machine's loopback; `status` is what it says instead of all else, while it is not 0."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.folder = folder
        self.tokens: set[str] = set()
        self.status = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def notice(self) -> Path:
        return self.folder / socket.gethostname()

    @property
    def asked(self) -> list[str]:
        log = self.notice.with_suffix(".asked")
        return log.read_text().splitlines() if log.exists() else []


class _Answer(BaseHTTPRequestHandler):
    server: MetadataService

    def do_PUT(self) -> None:
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token" or not seconds.isdigit() or not 1 <= int(seconds) <= 21_600:
            self._say(400)
            return
        token = secrets.token_urlsafe(40)
        self.server.tokens.add(token)
        self._say(200, token.encode())

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._say(401)
        elif self.path == "/latest/meta-data/spot/instance-action" and self.server.notice.exists():
            self._say(200, self.server.notice.read_bytes())
        else:
            self._say(404)

    def _say(self, status: int, body: bytes = b"") -> None:
        status = self.server.status or status
        with self.server.notice.with_suffix(".asked").open("a") as log:
            log.write(f"{self.command} {self.path} {status}\n")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    MetadataService(Path(sys.argv[1]), int(sys.argv[2])).serve_forever()
