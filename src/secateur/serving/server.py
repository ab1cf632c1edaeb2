"""`serve`: a page on this machine alone, on which an artifact is tried.

The server listens on the loopback address and answers only under a path that holds a random token,
so neither another machine nor a page of another site can ask it anything. It writes no file.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock
from typing import Any

from secateur.data.images import load_image
from secateur.errors import ContractError, OutputError, SecateurError
from secateur.formats.artifact import Artifact
from secateur.formats.signing import Signer
from secateur.reporting.images import data_uri
from secateur.reporting.rendering import digest
from secateur.serving.fields import encoded
from secateur.serving.page import render, script
from secateur.serving.rivals import Given, Rivals

HOST = "127.0.0.1"
_ROW_BYTES = 2**20
# Of an upload that is too long this much is read and dropped: while a browser is still sending it
# reads no answer.
_DROPPED_BYTES = 64 * 2**20
# A length of more digits is no file's, and of some thousands Python makes no number.
_DIGITS = 18
_PATIENCE = 30.0
# Requests that are read at a time: each holds its upload in memory.
_AT_ONCE = 4


class Server:
    """A page that is served until it is closed; `url` leads to it.

    Args:
        artifact: the model to try.
        beside: another one to see beside it; see `Rivals`.
        port: the port to listen on; 0 takes one that is free.
        signed_by: whose signature must be on what is not opened yet; see `Rivals`.

    Raises:
        ArtifactError: an artifact cannot be used.
        ContractError: the artifact reads sequences or arrays, for which there is no page.
        OutputError: the port is taken.
    """

    def __init__(
        self,
        artifact: Given,
        beside: Given | None = None,
        *,
        port: int = 0,
        signed_by: Signer | None = None,
    ):
        self.rivals = Rivals(artifact, beside, signed_by=signed_by)
        if self.rivals.contract.kind not in ("image", "table"):
            raise ContractError(
                f"the artifact reads a {self.rivals.contract.kind}, and there are pages for "
                "images and tables.",
                where=artifact.path if isinstance(artifact, Artifact) else artifact,
                mend="Score a file with `secateur score`.",
            )
        self._token = secrets.token_urlsafe(24)
        answers = partial(_Handler, self.rivals, self._token)
        try:
            self._http = ThreadingHTTPServer((HOST, port), answers)
        except OSError as error:
            raise OutputError(
                f"port {port} cannot be listened on: {error.strerror or error}.",
                mend="Name another with --port, or leave it out.",
            ) from error
        self._http.daemon_threads = True
        self._turn = Lock()
        self._running = self._closed = False

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{HOST}:{self._http.server_port}/{self._token}/"

    def run(self) -> None:
        """Answer until `close` is called or the process is interrupted."""
        with self._turn:
            if self._closed:
                return
            # A server that never answers would be waited for without end.
            self._running = True
        self._http.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop answering and give the port back."""
        with self._turn:
            self._closed = True
        if self._running:
            self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_version = "secateur"
    sys_version = ""
    timeout = _PATIENCE
    _room = BoundedSemaphore(_AT_ONCE)

    def __init__(self, rivals: Rivals, token: str, *args: Any):
        self.rivals, self.token = rivals, token
        super().__init__(*args)

    def handle(self) -> None:
        """Answer; a page that is closed before its answer comes is nothing to tell of."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        if self._refused() or self._action() != "":
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing here.")
            return
        self._send(HTTPStatus.OK, render(self.rivals).encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        action = self._action()
        kinds = {"image": "image", "row": "table"}
        if self._refused() or kinds.get(action or "") != self.rivals.contract.kind:
            self._fail(HTTPStatus.NOT_FOUND, "there is nothing here.")
            return
        if not self._room.acquire(timeout=_PATIENCE):
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once.")
            return
        try:
            body = self._body(limit(self.rivals) if action == "image" else _ROW_BYTES)
            if body is None:
                return
            said = self._image(body) if action == "image" else self._row(body)
            self._send(
                HTTPStatus.OK, json.dumps(said, allow_nan=False).encode(), "application/json"
            )
        except SecateurError as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, error.what)
        except TimeoutError:
            self.close_connection = True
        finally:
            self._room.release()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is for what the user asked."""

    def _image(self, body: bytes) -> dict[str, Any]:
        spec = self.rivals.contract.image
        assert spec is not None
        pixels = load_image(body, spec)
        return {
            "seen": data_uri(pixels, longest=256),
            "answers": self.rivals.answer(pixels[None]),
        }

    def _row(self, body: bytes) -> dict[str, Any]:
        try:
            filled = json.loads(body)
        except (ValueError, RecursionError):
            filled = None
        if not isinstance(filled, dict):
            raise ContractError("the form did not arrive as it was sent.")
        return {"answers": self.rivals.answer(encoded(self.rivals.contract, filled))}

    def _action(self) -> str | None:
        """Return what stands behind the token in the path; None where the token is not ours."""
        parts = self.path.partition("?")[0].split("/")
        if len(parts) != 3 or not secrets.compare_digest(parts[1].encode(), self.token.encode()):
            return None
        return parts[2]

    def _refused(self) -> bool:
        """Tell whether the request is not from our own page: a name that leads here is not ours."""
        port = self.connection.getsockname()[1]
        ours = {f"{HOST}:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") not in ours or (
            origin is not None and origin not in {f"http://{name}" for name in ours}
        )

    def _body(self, most: int) -> bytes | None:
        said = self.headers.get("Content-Length", "")
        if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS):
            self._fail(HTTPStatus.LENGTH_REQUIRED, "the upload does not say how long it is.")
            return None
        length = int(said)
        if length > most:
            self._drop(length)
            self._fail(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the file has {length:,} bytes, more than the {most:,} allowed.",
            )
            return None
        return self.rfile.read(length)

    def _drop(self, length: int) -> None:
        left = min(length, _DROPPED_BYTES)
        while left > 0 and (some := self.rfile.read(min(left, 2**16))):
            left -= len(some)

    def _fail(self, status: HTTPStatus, what: str) -> None:
        self.close_connection = True
        self._send(status, json.dumps({"error": what}).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; img-src data: blob:; media-src blob: mediastream:; connect-src "
            f"'self'; style-src 'unsafe-inline'; script-src 'sha256-{digest(script())}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(body)


def limit(rivals: Rivals) -> int:
    """Return how many bytes an uploaded image may have, as the contract says."""
    spec = rivals.contract.image
    return 0 if spec is None else spec.max_bytes
