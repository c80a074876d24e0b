"""A TCP proxy that understands HTTP/1.1 and fails as networks and stores do, for chosen requests.

It listens on 127.0.0.1 only, and forwards to one server whatever the request names; so it also
serves as a forward proxy (`HTTP_PROXY`), and as the server behind any virtual host.
"""

import contextlib
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, BinaryIO

_NO_BODY = {204, 304}
_LONGEST_STALL_SECONDS = 60.0
_STEPS_PER_SECOND = 20
_RECEIVE_BYTES = 2**16
"""Space of the system for what a client has sent: little, so that it feels a slow reader."""


@dataclass
class Request:
    """A request of a client."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""

    def head(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Answer:
    """The answer of the server."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    length: int
    """As the header says; of an answer to HEAD there is no body."""

    def head(self) -> bytes:
        skipped = {"connection", "transfer-encoding", "content-length", "keep-alive"}
        lines = [f"HTTP/1.1 {self.status} {self.reason}"]
        lines += [f"{name}: {value}" for name, value in self.headers if name.lower() not in skipped]
        if self.status not in _NO_BODY:
            lines.append(f"Content-Length: {self.length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class Fault:
    """A fault of the first `times` requests that match."""

    mode: str
    """error, reset, stall, lost_answer; hide_metadata: the headers of an answer; cut,
    shorten, stall_in_body, slow, corrupt: the body of an answer;
    slow_upload, corrupt_upload, drop_header: the request; call: nothing fails."""
    times: int = 1
    method: str = ""
    target: str = ""
    """Pattern somewhere in the path and the query."""
    status: int = 503
    """Of mode error; the body repeats what the client sent."""
    code: str = "ServiceUnavailable"
    """Of mode error: the S3 code in the body; none: `page` is the body."""
    page: str = ""
    """Of mode error, without a code."""
    header: str = ""
    """Of mode drop_header."""
    offset: int = 0
    """Of the byte to change, in mode corrupt and corrupt_upload."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of mode error."""
    bytes_per_second: int = 1000
    """Of mode slow and slow_upload."""
    call: Callable[[], None] = lambda: None
    """Runs before the request goes on to the server."""

    def matches(self, request: Request) -> bool:
        return (
            self.times > 0
            and self.method in {"", request.method}
            and re.search(self.target, request.target) is not None
        )


class FaultProxy:
    """The proxy; use as a context manager. `seen` are the requests in the order of arrival."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.seen: list[Request] = []
        self.stopped = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FaultProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(self, mode: str, **options: Any) -> Fault:
        """Add a fault for the next requests that match; see `Fault`."""
        fault = Fault(mode, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Forget all faults and requests."""
        with self._lock:
            self._faults.clear()
            self.seen.clear()

    def take_fault(self, request: Request) -> Fault | None:
        """Note the request and return the fault that hits it."""
        with self._lock:
            self.seen.append(request)
            for fault in self._faults:
                if fault.matches(request):
                    fault.times -= 1
                    return fault
        return None


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client or server that goes away is what this is about."""


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError, HTTPException):
            while request := _read_head(self.rfile):
                fault = self.server.proxy.take_fault(request) or Fault("none")
                self._read_body(request, fault)
                if not self._serve(request, fault):
                    return

    def _read_body(self, request: Request, fault: Fault) -> None:
        size = int(request.headers.get("content-length", 0))
        is_slow = fault.mode == "slow_upload"
        step = fault.bytes_per_second // _STEPS_PER_SECOND if is_slow else size
        pieces = []
        for start in range(0, size, step or 1):
            pieces.append(self.rfile.read(min(step, size - start)))
            if is_slow:
                self.server.proxy.stopped.wait(1 / _STEPS_PER_SECOND)
        request.body = b"".join(pieces)

    def _serve(self, request: Request, fault: Fault) -> bool:
        """Answer one request; say whether the connection may serve another."""
        if fault.mode == "error":
            self._send(request, _error_answer(fault, request))
            return True
        if request.method == "CONNECT":
            self._tunnel()
            return False
        if fault.mode == "stall":
            self.server.proxy.stopped.wait(_LONGEST_STALL_SECONDS)
            return False
        if fault.mode == "reset":
            return self._reset()
        try:
            answer = self._forward(_change(request, fault))
        except (OSError, HTTPException):
            return self._reset()
        return self._give_back(request, answer, fault)

    def _give_back(self, request: Request, answer: Answer, fault: Fault) -> bool:
        if fault.mode == "lost_answer":
            return self._reset()
        if fault.mode in {"cut", "stall_in_body"}:
            self.wfile.write(answer.head() + answer.body[: len(answer.body) // 2])
            self.wfile.flush()
            if fault.mode == "stall_in_body":
                self.server.proxy.stopped.wait(_LONGEST_STALL_SECONDS)
            return False
        if fault.mode == "slow":
            self.wfile.write(answer.head())
            return self._drip(answer.body, fault.bytes_per_second)
        if fault.mode == "hide_metadata":
            answer.headers = [(k, v) for k, v in answer.headers if "x-amz-meta" not in k.lower()]
        if fault.mode == "shorten":
            answer.body = answer.body[: len(answer.body) // 2]
            answer.length = len(answer.body)
        if fault.mode == "corrupt":
            answer.body = _flip(answer.body, fault.offset)
        self._send(request, answer)
        return True

    def _forward(self, request: Request) -> Answer:
        with socket.create_connection(("127.0.0.1", self.server.proxy.server_port), 30) as upstream:
            upstream.sendall(request.head() + request.body)
            response = HTTPResponse(upstream, method=request.method)
            response.begin()
            body = response.read()
            length = response.getheader("Content-Length")
            return Answer(
                response.status,
                response.reason,
                response.getheaders(),
                body,
                int(length) if length and request.method == "HEAD" else len(body),
            )

    def _send(self, request: Request, answer: Answer) -> None:
        body = b"" if request.method == "HEAD" else answer.body
        self.wfile.write(answer.head() + body)

    def _drip(self, body: bytes, bytes_per_second: int) -> bool:
        step = max(bytes_per_second // _STEPS_PER_SECOND, 1)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            if self.server.proxy.stopped.wait(1 / _STEPS_PER_SECOND):
                return False
        return True

    def _reset(self) -> bool:
        """Close so that the client sees a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        return False

    def _tunnel(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.proxy.server_port), 30) as upstream:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)
            back.join(5)


_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{echo}</Message><Resource>/</Resource></Error>"""


def _error_answer(fault: Fault, request: Request) -> Answer:
    """Return an error that repeats the secrets of the request, as some servers do."""
    error = _ERROR.format(code=fault.code, echo=request.headers)
    body = (error if fault.code else fault.page).encode()
    headers = {"Content-Type": "application/xml"} | fault.headers
    return Answer(fault.status, "Fault", list(headers.items()), body, len(body))


def _change(request: Request, fault: Fault) -> Request:
    fault.call()
    if fault.mode == "corrupt_upload":
        request.body = _flip(request.body, fault.offset)
    if fault.mode == "drop_header":
        request.headers.pop(fault.header, None)
    return request


def _read_head(stream: BinaryIO) -> Request | None:
    words = stream.readline().decode("latin-1").split()
    if len(words) != 3:
        return None
    # A client of a forward proxy names the whole URL; the server wants its path.
    target = re.sub(r"^http://[^/]+", "", words[1])
    return Request(words[0], target, dict(_read_headers(stream)))


def _read_headers(stream: BinaryIO) -> Iterator[tuple[str, str]]:
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


def _flip(body: bytes, offset: int) -> bytes:
    """Change a bit of the byte at `offset`; a shorter body stays as it is."""
    rest = bytearray(body[offset:])
    if rest:
        rest[0] ^= 1
    return body[:offset] + rest


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(2**16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
