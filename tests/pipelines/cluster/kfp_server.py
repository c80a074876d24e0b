"""A stand-in for the server of Kubeflow Pipelines 2.17: its REST over real HTTP.

Every request and response is checked against the models of `kfp_server_api`, every pipeline
against the schema of `kfp-pipeline-spec`, and the arguments of a run against its pipeline.
"""

import itertools
import json
import operator
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.pipelines.cluster.kfp_runs import OVER, Run, shown, workflow_nodes
from tests.pipelines.cluster.kfp_schema import Json, Refused, asked, check_pipeline, checked

EPOCH = datetime(2026, 11, 20, 3, 0, tzinfo=timezone.utc)
SUCCEEDS = ("PENDING", "RUNNING", "SUCCEEDED")


@dataclass
class Fault:
    """A failure in place of a response, and how often it occurs."""

    status: int = 500
    body: bytes | None = None
    """None for an error in the format of the server."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    after: str = ""
    """`METHOD path` that it affects; empty for every request."""
    is_done: bool = False
    """The request is carried out; only the response is lost."""
    is_silent: bool = False
    """No response at all, until the test is over."""


class KfpServer:
    """Experiments, runs and recurring runs in memory; start it with `running`."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.token = ""
        """Required bearer token; empty for none."""
        self.cookies = ""
        self.namespaces: set[str] = set()
        """Profiles of the user; empty for a server without users."""
        self.history: Sequence[str] = SUCCEEDS
        """Of future runs."""
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        """`METHOD path` of every request."""
        self.experiments: dict[str, Json] = {}
        self.runs: dict[str, Run] = {}
        self.recurring_runs: dict[str, Json] = {}
        self.on_request: dict[str, Callable[[], None]] = {}
        """Called right after a request, by `METHOD path`."""
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._ticks = itertools.count()

    def answer(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Json | str:
        """Carry out a request.

        Raises:
            Refused: it cannot be carried out.
        """
        url = urlsplit(target)
        self._authenticate(headers)
        for pattern, verb in ROUTES:
            if match := re.fullmatch(pattern, f"{method} {shorten(url.path)}"):
                query = dict(parse_qsl(url.query))
                self._authorise(query.get("namespace"), is_list=pattern in LISTS)
                with self._lock:
                    return verb(self, match.groups(), query, json.loads(body or "{}"))
        raise Refused(404, 5, f"Not Found: {method} {url.path}")

    def take_fault(self, request: str) -> Fault | None:
        """Return the fault of a request, if any is left."""
        with self._lock:
            for fault in self.faults:
                if fault.times and request.startswith(fault.after):
                    fault.times -= 1
                    return fault
        return None

    def now(self) -> str:
        """Return a time that is later with every call."""
        return (EPOCH + timedelta(seconds=next(self._ticks))).isoformat()

    def _authenticate(self, headers: Mapping[str, str]) -> None:
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            raise Refused(
                401, 16, "Unauthenticated: Request header error: there is no user identity"
            )
        if self.cookies and headers.get("cookie") != self.cookies:
            raise Refused(401, 16, "Unauthenticated")

    def _authorise(self, namespace: str | None, *, is_list: bool) -> None:
        if namespace and self.namespaces and namespace not in self.namespaces:
            raise Refused(403, 7, f"User 'user@example.com' is not authorized in '{namespace}'")
        if is_list and self.namespaces and not namespace:
            raise Refused(400, 3, "Invalid input error: a namespace is required")

    def health(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """GET /healthz."""
        return checked({"multi_user": bool(self.namespaces)}, "V2beta1GetHealthzResponse")

    def list_experiments(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """GET /experiments."""
        page = paged(list(self.experiments.values()), query, "experiments")
        return checked(page, "V2beta1ListExperimentsResponse")

    def create_experiment(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """POST /experiments."""
        made = {**asked(body, "V2beta1Experiment"), "experiment_id": str(uuid.uuid4())}
        self._authorise(made.get("namespace"), is_list=True)
        self.experiments[made["experiment_id"]] = {**made, "created_at": self.now()}
        return checked(self.experiments[made["experiment_id"]], "V2beta1Experiment")

    def list_runs(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """GET /runs."""
        runs = [shown(run) for run in self.runs.values()]
        if experiment := query.get("experiment_id"):
            runs = [run for run in runs if run["experiment_id"] == experiment]
        runs.sort(
            key=lambda run: str(run["created_at"]), reverse="desc" in query.get("sort_by", "")
        )
        return checked(paged(runs, query, "runs"), "V2beta1ListRunsResponse")

    def create_run(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """POST /runs."""
        wanted = asked(body, "V2beta1Run")
        check_pipeline(wanted)
        self._find(self.experiments, wanted["experiment_id"])
        return checked(shown(self._start(wanted)), "V2beta1Run")

    def start_scheduled(self, schedule: str) -> str:
        """Start a run of a schedule, as its cron line does, and return its id."""
        made = self.recurring_runs[schedule]
        shared = {"display_name", "experiment_id", "pipeline_spec", "runtime_config"}
        wanted = {name: value for name, value in made.items() if name in shared}
        run = self._start({**wanted, "recurring_run_id": schedule})
        return str(run.content["run_id"])

    def _start(self, wanted: Json) -> Run:
        run_id = str(uuid.uuid4())
        content = {**wanted, "run_id": run_id, "created_at": self.now()}
        self.runs[run_id] = Run(content, self.history)
        return self.runs[run_id]

    def get_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """GET /runs/ID; the run advances."""
        run = self._find(self.runs, names[0])
        found = checked(shown(run), "V2beta1Run")
        run.position = min(run.position + 1, len(run.history) - 1)
        return found

    def terminate_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """POST /runs/ID:terminate; the final state is FAILED, as on a real server."""
        run = self._find(self.runs, names[0])
        run.history = (*run.history[: run.position + 1], "CANCELING", "FAILED")
        return {}

    def retry_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """POST /runs/ID:retry; the history goes on."""
        run = self._find(self.runs, names[0])
        run.history = (*run.history, "RUNNING", "SUCCEEDED")
        run.position += 1
        return {}

    def get_workflow(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """GET /apis/v1beta1/runs/ID, also when the workflow no longer exists."""
        run = self._find(self.runs, names[0])
        nodes = workflow_nodes(run)
        manifest = {"kind": "Workflow", "status": {"nodes": nodes}}
        runtime = {"workflow_manifest": json.dumps(manifest)} if nodes else {}
        return {"run": {"id": names[0]}, "pipeline_runtime": runtime}

    def get_log(self, names: Sequence[str], query: Json, body: Json) -> str:
        """GET /apis/v1alpha1/runs/ID/nodes/NODE/log, also when the pod no longer exists."""
        run = self._find(self.runs, names[0])
        return str(self._find(run.logs, names[1].removeprefix("pod-of-")))

    def list_recurring_runs(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """GET /recurringruns."""
        page = paged(list(self.recurring_runs.values()), query, "recurringRuns")
        return checked(page, "V2beta1ListRecurringRunsResponse")

    def create_recurring_run(self, _: Sequence[str], query: Json, body: Json) -> Json:
        """POST /recurringruns; accepts five fields too, as a real server does."""
        wanted = asked(body, "V2beta1RecurringRun")
        check_pipeline(wanted)
        self._find(self.experiments, wanted["experiment_id"])
        if len(wanted["trigger"]["cron_schedule"]["cron"].split()) not in {5, 6}:
            raise Refused(400, 3, "Invalid input error: Schedule cron is not supported")
        if not 1 <= int(wanted["max_concurrency"]) <= 10:
            raise Refused(400, 3, "Invalid input error: max_concurrency is out of 1-10")
        made = {**wanted, "recurring_run_id": str(uuid.uuid4()), "created_at": self.now()}
        made["status"] = f"{made.get('mode', 'ENABLE')}D"
        self.recurring_runs[made["recurring_run_id"]] = made
        return checked(made, "V2beta1RecurringRun")

    def get_recurring_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """GET /recurringruns/ID."""
        return checked(self._find(self.recurring_runs, names[0]), "V2beta1RecurringRun")

    def delete_recurring_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """DELETE /recurringruns/ID; the workflow of a run of it goes, and its state stays."""
        self._find(self.recurring_runs, names[0])
        del self.recurring_runs[names[0]]
        for run in self.runs.values():
            state = run.history[run.position]
            if run.content.get("recurring_run_id") == names[0] and state not in OVER:
                run.history = run.history[: run.position + 1]
        return {}

    def switch_recurring_run(self, names: Sequence[str], query: Json, body: Json) -> Json:
        """POST /recurringruns/ID:enable or :disable."""
        found = self._find(self.recurring_runs, names[0])
        found.update(mode=names[1].upper(), status=f"{names[1].upper()}D")
        return {}

    def _find(self, store: Mapping[str, Any], name: str) -> Any:
        if name not in store:
            raise Refused(404, 5, f"ResourceNotFoundError: {name} not found")
        return store[name]


Verb = Callable[[KfpServer, Sequence[str], Json, Json], Json | str]
ROUTES: Sequence[tuple[str, Verb]] = (
    ("GET /healthz", KfpServer.health),
    ("GET /experiments", KfpServer.list_experiments),
    ("POST /experiments", KfpServer.create_experiment),
    ("GET /runs", KfpServer.list_runs),
    ("POST /runs", KfpServer.create_run),
    ("GET /runs/([^/:]+)", KfpServer.get_run),
    ("POST /runs/([^/:]+):terminate", KfpServer.terminate_run),
    ("POST /runs/([^/:]+):retry", KfpServer.retry_run),
    ("GET /apis/v1beta1/runs/([^/:]+)", KfpServer.get_workflow),
    ("GET /apis/v1alpha1/runs/([^/:]+)/nodes/([^/:]+)/log", KfpServer.get_log),
    ("GET /recurringruns", KfpServer.list_recurring_runs),
    ("POST /recurringruns", KfpServer.create_recurring_run),
    ("GET /recurringruns/([^/:]+)", KfpServer.get_recurring_run),
    ("DELETE /recurringruns/([^/:]+)", KfpServer.delete_recurring_run),
    ("POST /recurringruns/([^/:]+):(enable|disable)", KfpServer.switch_recurring_run),
)
LISTS = {"GET /experiments", "GET /recurringruns"}


@contextmanager
def running(server: KfpServer, certificate: tuple[Path, Path] | None = None) -> Iterator[KfpServer]:
    """Run a server on its own port during the block; with a certificate over TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Discard the message."""

        def do_GET(self) -> None:  # noqa: N802
            handle(server, self)

        do_POST = do_DELETE = do_GET  # noqa: N815

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    host = f"127.0.0.1:{listener.server_address[1]}"
    server.endpoint = f"{'https' if certificate else 'http'}://{host}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


def shorten(path: str) -> str:
    """Return the path without the prefix of the current API."""
    return path.removeprefix("/apis/v2beta1")


def handle(server: KfpServer, request: BaseHTTPRequestHandler) -> None:
    """Answer one request, or fail as its fault requires."""
    body = request.rfile.read(int(request.headers.get("content-length") or 0))
    words = f"{request.command} {shorten(urlsplit(request.path).path)}"
    server.requests.append(words)
    fault = server.take_fault(words)
    if fault is None or fault.is_done:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            status, content = 200, server.answer(request.command, request.path, headers, body)
        except Refused as refused:
            status, content = refused.status, failure(refused.code, str(refused))
    server.on_request.get(words, lambda: None)()
    if fault is None and isinstance(content, str):
        return send(request, status, content.encode(), "text/plain", {})
    if fault is None:
        return send(request, status, json.dumps(content).encode(), "application/json", {})
    if fault.is_silent:
        server.over.wait()
        request.close_connection = True
        return None
    said = json.dumps(failure(13, "Internal Server Error")).encode()
    return send(
        request,
        fault.status,
        said if fault.body is None else fault.body,
        fault.content_type,
        fault.headers,
    )


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    content_type: str,
    headers: Mapping[str, str],
) -> None:
    """Send a response."""
    request.send_response(status)
    for name, value in {"Content-Type": content_type, **headers}.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def failure(code: int, message: str) -> Json:
    """Return an error in the format of the server."""
    return {"error": message, "code": code, "message": message, "details": []}


def paged(found: Sequence[Json], query: Mapping[str, str], name: str) -> Json:
    """Return a page of what the filter and the namespace let through."""
    filters = json.loads(query.get("filter", "{}")).get("predicates", [])
    for predicate in filters:
        operation = {1: operator.eq, 9: operator.contains}.get(predicate["operation"])
        if operation is None:
            raise Refused(400, 3, f"Invalid input error: operation {predicate['operation']}")
        key, value = predicate["key"], predicate["stringValue"]
        found = [each for each in found if operation(each.get(key), value)]
    if namespace := query.get("namespace"):
        found = [each for each in found if each.get("namespace", namespace) == namespace]
    first = int(query.get("page_token") or 0)
    last = first + int(query.get("page_size") or 20)
    page: Json = {name: list(found[first:last]), "total_size": len(found)}
    return page | ({"next_page_token": str(last)} if last < len(found) else {})
