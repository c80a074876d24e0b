"""Progress in a TrainJob: a real training reports to a real TLS server."""

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ssd_core.tracking import trainjob
from ssd_core.training.loop import train
from tests.training.small_run import make_config, make_run, outcome


@dataclass
class StatusServer:
    """The server of Kubeflow Trainer, as far as its contract goes."""

    folder: Path
    port: int = 0
    answer: int = 200
    received: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    """Time, authorization and status of each request."""

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StatusServer]:
    """Return a server whose variables are set, with a certificate of its own authority."""
    found = StatusServer(tmp_path)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = tmp_path / "key.pem"
    subprocess.run([*command, "-keyout", key, "-out", found.certificate], check=True, stderr=-3)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            authorization = self.headers["Authorization"]
            found.received.append((time.monotonic(), authorization, content["trainerStatus"]))
            (tmp_path / "token").write_text(f"token {len(found.received) + 1}\n")  # it is renewed
            self.send_response(found.answer)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(found.certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        found.port = http.server_port
        (tmp_path / "token").write_text("token 1\n")
        monkeypatch.setenv(trainjob.URL, f"https://127.0.0.1:{found.port}/status")
        monkeypatch.setenv(trainjob.CERTIFICATE, str(found.certificate))
        monkeypatch.setenv(trainjob.TOKEN, str(tmp_path / "token"))
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        http.shutdown()


def train_and_report(out_dir: Path) -> dict[str, Any]:
    run = make_run(out_dir, make_config(evaluate_every=4))
    with trainjob.report_to_trainjob() as listener:
        train(replace(run, listeners=[listener]))
    return outcome(run)


def test_progress_arrives_at_most_every_5_seconds(server: StatusServer, tmp_path: Path) -> None:
    train_and_report(tmp_path / "run")
    (first, first_token, started), (last, last_token, ended) = server.received
    assert last - first > 4.9
    assert (first_token, last_token) == ("Bearer token 1", "Bearer token 2")
    assert started["progressPercentage"] < 100
    assert (ended["progressPercentage"], ended["estimatedRemainingSeconds"]) == (100, 0)
    metrics = {each["name"]: float(each["value"]) for each in ended["metrics"]}
    assert -1 <= metrics["ap"] <= 1
    assert metrics["loss"] > 0
    assert time.strptime(ended["lastUpdatedTime"], "%Y-%m-%dT%H:%M:%S+00:00")


@pytest.mark.parametrize("fault", ["answer", "port", "certificate", "token", "address"])
def test_a_server_that_fails_changes_nothing(
    server: StatusServer,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(trainjob, "_INTERVAL", 0.01)
    if fault == "answer":
        server.answer = 500
    if fault == "port":
        monkeypatch.setenv(trainjob.URL, "https://127.0.0.1:1/status")
    if fault == "certificate":
        monkeypatch.setenv(trainjob.CERTIFICATE, "/etc/ssl/certs/ca-certificates.crt")
    if fault == "token":
        monkeypatch.setenv(trainjob.TOKEN, str(tmp_path / "nowhere"))
    if fault == "address":
        monkeypatch.setenv(trainjob.URL, "nonsense")
    found = train_and_report(tmp_path / "run")
    [warning] = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert warning.startswith("TrainJob gets no figures at present: ")
    for name in (trainjob.URL, trainjob.TOKEN, trainjob.CERTIFICATE):
        monkeypatch.delenv(name)
    assert found == train_and_report(tmp_path / "other")


def test_a_server_that_hangs_delays_only_the_end(
    server: StatusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainjob, "_INTERVAL", 0.01)
    monkeypatch.setattr(trainjob, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(trainjob.URL, f"https://127.0.0.1:{silent.getsockname()[1]}/status")
        run = make_run(tmp_path / "run")
        with trainjob.report_to_trainjob() as listener:
            state = train(replace(run, listeners=[listener]))
    assert state.step == run.total_steps
