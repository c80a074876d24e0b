"""The part of a Kubernetes API that a server of custom resources alone does not have.

It keeps pods and their logs, authenticates and authorises users, and forwards every request about
custom resources to the real API server, which in turn authorises it here. Every permission that was
checked is recorded.
"""

import http.client
import json
import socket
import ssl
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ADMIN = "admin"
LAUNCHER = "launcher"
"""Bearer tokens, and the names of their users."""
NAMESPACE = "team"


@dataclass
class Log:
    """Time stamps and lines of a container; the stamps are neither unique nor in order."""

    lines: list = field(default_factory=list)
    is_complete: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def write(self, *texts):
        with self.changed:
            for text in texts:
                seconds = 3 * ((len(self.lines) // 2) ^ 1)
                time = datetime(2026, 11, 20, 8) + timedelta(seconds=seconds)
                self.lines.append((f"{time.isoformat()}.000000000Z", text))
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.is_complete = True
            self.changed.notify_all()


class CoreServer:
    """The server and its state, which the tests read and change."""

    def __init__(self):
        self.upstream = None
        """Port of the real API server."""
        self.pods, self.logs, self.events = {}, {}, []
        self.allowed = None
        """Permissions of the launcher, as (verb, API group, resource); None for all."""
        self.asked = set()
        """Permissions that the launcher has used or tried to use."""
        self.faults = deque()
        """Answers instead of the real one: a piece of the path, a status; 0 hangs up."""
        self.polls = 0
        """Lists of jobs that the launcher has requested."""
        self.is_stopping = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        self._http.core = self
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.is_stopping.set()
        for log in self.logs.values():
            log.close()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def add_pod(self, name, labels, container):
        """Start a pod and return its log."""
        self.logs[name] = Log()
        self.pods[name] = {
            "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": container, "state": {"running": {}}}],
            },
        }
        return self.logs[name]

    def end_pod(self, name, code, *, message=""):
        """End the container of a pod with the status that the kubelet reports."""
        end = {"exitCode": code, "reason": "Error", "message": message}
        end["finishedAt"] = f"2026-11-20T09:00:{len(self.pods):02}Z"
        status = self.pods[name]["status"]
        status["phase"] = "Failed" if code else "Succeeded"
        status["containerStatuses"][0]["state"] = {"terminated": end}
        self.logs[name].close()

    def is_allowed(self, user, permission):
        if user == ADMIN:
            return True
        self.asked.add(permission)
        return self.allowed is None or permission in self.allowed

    def take_fault(self, path):
        if self.faults and self.faults[0][0] in path:
            return self.faults.popleft()[1]
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def core(self):
        return self.server.core

    def log_message(self, *args):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        if self._misbehave():
            return
        if parts.path == f"/api/v1/namespaces/{NAMESPACE}/events":
            self._list_events(query.get("fieldSelector"))
        elif parts.path == pods:
            self._list_pods(query.get("labelSelector", ""))
        elif parts.path.startswith(pods) and parts.path.endswith("/log"):
            self._show_log(parts.path.split("/")[-2], query.get("sinceTime", ""))
        elif "kubeflow.org" in parts.path or "gitee.com" in parts.path or "apiext" in parts.path:
            self.core.polls += self._user() == LAUNCHER
            self._pass_on()
        else:
            self._list_nothing(parts.path, is_watch="watch" in query)

    def do_POST(self):
        if self._misbehave():
            return
        if "tokenreviews" in self.path:
            review = self._read()
            token = review["spec"]["token"]
            user = {"username": token, "groups": ["system:masters"] if token == ADMIN else []}
            self._answer(review | {"status": {"authenticated": True, "user": user}}, 201)
        elif "subjectaccessreviews" in self.path:
            review = self._read()
            wanted = review["spec"].get("resourceAttributes", {})
            resource = "/".join(
                word for word in (wanted.get("resource"), wanted.get("subresource")) if word
            )
            permission = (wanted.get("verb", ""), wanted.get("group", ""), resource)
            is_allowed = self.core.is_allowed(review["spec"].get("user", ""), permission)
            self._answer(review | {"status": {"allowed": is_allowed}}, 201)
        else:
            self._pass_on()

    def _user(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _misbehave(self):
        """Answer with the next fault if it is meant for this request of the launcher."""
        status = self.core.take_fault(self.path) if self._user() == LAUNCHER else None
        if status is None:
            return False
        self._read_body()
        if status == 0:
            self.close_connection = True
        else:
            self._answer(_status(status, "out of order"), status)
        return True

    def _may(self, verb, resource):
        if self.core.is_allowed(self._user(), (verb, "", resource)):
            return True
        self._answer(_status(403, f"{resource} is forbidden: cannot {verb}"), 403)
        return False

    def _list_pods(self, selector):
        if not self._may("list", "pods"):
            return
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        found = [
            pod
            for pod in list(self.core.pods.values())
            if wanted.items() <= pod["metadata"]["labels"].items()
        ]
        self._answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": found})

    def _list_events(self, selector):
        assert selector == "type=Warning"
        if self._may("list", "events"):
            self._answer({"kind": "EventList", "metadata": {}, "items": self.core.events})

    def _show_log(self, pod, since):
        if not self._may("get", "pods/log"):
            return
        log, sent = self.core.logs[pod], 0
        self._begin_stream()
        while not self._is_client_gone():
            with log.changed:
                if len(log.lines) == sent and not log.is_complete:
                    log.changed.wait(0.2)
                lines, is_complete = log.lines[sent:], log.is_complete
            new = [f"{stamp} {text}\n" for stamp, text in lines if stamp >= since[:19]]
            if new:
                self._send_chunk("".join(new).encode())
            sent += len(lines)
            if is_complete:
                self._send_chunk(b"")
                return

    def _is_client_gone(self):
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _list_nothing(self, path, *, is_watch):
        """Answer the API server, which lists and watches kinds that do not exist here."""
        if is_watch:
            self._begin_stream()
            self.core.is_stopping.wait()
            self.close_connection = True
            return
        *_, version, plural = path.strip("/").split("/")
        kind = f"{plural[:-1].capitalize()}List"
        listed = {"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}}
        self._answer(listed | {"items": []})

    def _pass_on(self):
        """Forward to the real server; while it is away, hang up as it would."""
        body = self._read_body()
        context = ssl._create_unverified_context()  # it makes its own certificate
        upstream = http.client.HTTPSConnection(
            "127.0.0.1", self.core.upstream, context=context, timeout=120
        )
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"host", "connection"}
        }
        self.close_connection = True
        try:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            while part := answer.read1(65536):
                self._send_chunk(part)
            if not answer.chunked or answer.chunk_left in (0, None):
                self._send_chunk(b"")
        except (OSError, http.client.HTTPException):
            pass
        finally:
            upstream.close()

    do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    def _read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _read(self):
        return json.loads(self._read_body())

    def _answer(self, content, status=200):
        body = json.dumps(content).encode()
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def _begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_chunk(self, part):
        with suppress(OSError):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.flush()


def _status(code, message):
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def permissions(rules):
    """Return the permissions that the rules of a Role grant."""
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
