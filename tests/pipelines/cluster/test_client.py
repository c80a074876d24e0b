"""Every failure of a server is one line, with the matching exit code."""

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests.pipelines.cluster.kfp_server import Fault, KfpServer, running
from tests.pipelines.conftest import BENCHMARK, TRAINING, Command

PAGE = b"<!doctype html><title>Sign in</title>"
RUN = "0b7c2b1e-5a5f-4f0e-9a38-6d0c9a3f2f10"
VERBS = (
    ("submit", *TRAINING),
    ("wait", RUN),
    ("status", RUN),
    ("results", RUN),
    ("schedule", "nightly", "--cron=0 0 3 * * *", *BENCHMARK),
    ("schedule", "list"),
    ("schedule", "remove", "nightly"),
)


@pytest.fixture
def closed_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words[:2]))
def test_every_verb_reports_an_unreachable_server(
    pipelines: Command, closed_port: int, words: tuple[str, ...]
) -> None:
    endpoint = f"http://127.0.0.1:{closed_port}"
    message = pipelines.fails(75, *words, f"--endpoint={endpoint}")
    assert message.startswith(f"{endpoint}: cannot be reached (")
    assert "refused" in message


@pytest.mark.parametrize(
    ("fault", "exit_code", "message"),
    [
        (Fault(401), 2, "not logged in (401); give --token-file, --token or --cookies"),
        (
            Fault(302, body=PAGE, content_type="text/html", headers={"Location": "/dex/auth"}),
            2,
            "not logged in (302)",
        ),
        (Fault(403), 2, "not allowed in this server (403)"),
        (Fault(404), 2, "refused (404): Internal Server Error"),
        (
            Fault(404, body=PAGE, content_type="text/html"),
            2,
            "returned 404; expected the address of Kubeflow Pipelines, for example http://",
        ),
        (
            Fault(200, body=PAGE, content_type="text/html"),
            2,
            "returned something else than JSON; expected the address of Kubeflow Pipelines",
        ),
        (Fault(200, body=b'{"state": "LOST", "runs": 1', content_type="text/x"), 2, "than JSON"),
        (Fault(200, body=b"\xff\xfe"), 2, "an answer that cannot be read"),
        (Fault(400), 2, "refused (400): Internal Server Error"),
        (Fault(429), 75, "returned 429, try later"),
        (Fault(500), 75, "returned 500, try later: Internal Server Error"),
        (Fault(502, body=b"\xff<html>", content_type="text/html"), 75, "returned 502, try later"),
        (Fault(503, headers={"Retry-After": "3600"}), 75, "returned 503, try later"),
    ],
    ids=lambda value: f"{value.status} {value.content_type}" if isinstance(value, Fault) else None,
)
def test_failures_of_the_server_are_one_line(
    pipelines: Command, kfp_server: KfpServer, fault: Fault, exit_code: int, message: str
) -> None:
    kfp_server.faults.append(fault)
    said = pipelines.fails(exit_code, "status", RUN)
    assert kfp_server.endpoint in said
    assert message in said


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words[:2]))
def test_help_of_every_verb_has_an_example(pipelines: Command, words: tuple[str, ...]) -> None:
    verb = words[:2] if words[1] in {"list", "remove"} else words[:1]
    code, out, _ = pipelines(*verb, "--help")
    assert code == 0
    assert f"Example: python -m pipelines {' '.join(verb)} " in f"{' '.join(out.split())} "


@pytest.mark.parametrize("after", ["GET /healthz", f"GET /runs/{RUN}"])
def test_silent_server_times_out(pipelines: Command, kfp_server: KfpServer, after: str) -> None:
    kfp_server.faults.append(Fault(is_silent=True, after=after))
    message = pipelines.fails(75, "status", RUN, "--timeout=0.3")
    assert message == f"{kfp_server.endpoint}: no answer within 0.3 s; --timeout raises the limit"


def test_server_that_closes_the_connection(pipelines: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hang_up = threading.Thread(target=lambda: listener.accept()[0].close())
        hang_up.start()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert endpoint in pipelines.fails(75, "status", RUN, f"--endpoint={endpoint}")
        hang_up.join()


def test_unknown_run(pipelines: Command) -> None:
    assert f"{RUN} not found" in pipelines.fails(2, "status", RUN)


@pytest.mark.parametrize("run", ["", "..", "a/b", "a b"])
def test_malformed_run_ids(pipelines: Command, run: str) -> None:
    assert (
        pipelines.fails(2, "status", run) == f"'{run}' is not the id of a run; `submit` prints it"
    )


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("", "no endpoint: give --endpoint or set KF_PIPELINES_ENDPOINT"),
        ("", "a local run has none: `results RUN --root DIR` prints its results"),
        ("localhost:8888", "endpoint 'localhost:8888': expected http://HOST or https://HOST"),
        ("http://", "expected http://HOST"),
        ("http://[::1", "expected http://HOST"),
        ("http://localhost:x", "expected http://HOST"),
        ("http://me:canary@localhost", "the endpoint contains a password"),
    ],
)
def test_malformed_endpoints(pipelines: Command, endpoint: str, message: str) -> None:
    said = pipelines.fails(2, "schedule", "list", f"--endpoint={endpoint}")
    assert message in said
    assert "canary" not in said


def test_endpoint_may_end_with_a_slash(pipelines: Command, kfp_server: KfpServer) -> None:
    pipelines.lines("schedule", "list", f"--endpoint={kfp_server.endpoint}/")


def test_token_comes_from_an_option_a_variable_or_a_file(
    pipelines: Command, kfp_server: KfpServer, tmp_path: Path
) -> None:
    kfp_server.token = "canary-token"
    path = tmp_path / "token"
    path.write_text("canary-token\n")
    assert "not logged in (401)" in pipelines.fails(2, "schedule", "list")
    pipelines.lines("schedule", "list", "--token=canary-token")
    pipelines.lines("schedule", "list", f"--token-file={path}")
    pipelines.patch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    pipelines.lines("schedule", "list")
    pipelines.patch.delenv("KF_PIPELINES_SA_TOKEN_PATH")
    pipelines.patch.setenv("KFP_EXISTING_TOKEN", "canary-token")
    pipelines.lines("schedule", "list")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--token=canary\nX-Evil: 1"],
            "the token: empty, or with characters that are not valid in a header",
        ),
        (["--token=canäry"], "the token: empty, or with characters"),
        (["--cookies=canary\n"], "--cookies: empty, or with characters"),
        (["--token-file=missing"], "--token-file missing: No such file or directory"),
        (["--token-file=."], "--token-file .: Is a directory"),
        (["--ca-cert=missing"], "--ca-cert missing: contains no readable certificates"),
        (["--timeout=soon"], "--timeout"),
    ],
)
def test_invalid_settings(pipelines: Command, words: list[str], message: str) -> None:
    assert message in pipelines.fails(2, "schedule", "list", *words)


def test_secrets_are_never_printed(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.token = "another"
    for words in (["--token=canary-1"], ["--cookies=canary=2"], ["--token=canary\n3"]):
        code, out, err = pipelines("status", RUN, *words, "--debug")
        assert code == 2
        assert "Traceback" in err
        assert "canary" not in out + err


def test_cookies_of_a_session(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.cookies = "authservice_session=canary"
    assert "not logged in" in pipelines.fails(2, "schedule", "list")
    pipelines.lines("schedule", "list", "--cookies=authservice_session=canary")


def test_server_with_users_needs_a_namespace(pipelines: Command, kfp_server: KfpServer) -> None:
    kfp_server.namespaces = {"vision"}
    message = pipelines.fails(2, "schedule", "list")
    assert message == f"{kfp_server.endpoint} has users; name your profile by --namespace"
    message = pipelines.fails(2, "schedule", "list", "--namespace=audio")
    assert "not allowed in the namespace 'audio' (403); choose another --namespace" in message
    pipelines.patch.setenv("KF_PIPELINES_NAMESPACE", "vision")
    pipelines.lines("submit", *TRAINING)
    (experiment,) = kfp_server.experiments.values()
    assert experiment["namespace"] == "vision"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def test_certificate_must_be_trusted(
    pipelines: Command, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    with running(KfpServer(), certificate) as server:
        words = ("schedule", "list", f"--endpoint={server.endpoint}")
        message = pipelines.fails(2, *words)
        assert "the certificate is not trusted; name its authority with --ca-cert" in message
        pipelines.lines(*words, f"--ca-cert={certificate[0]}")
        pipelines.patch.setenv("SSL_CERT_FILE", str(certificate[0]))
        pipelines.lines(*words)
        (tmp_path / "no.pem").write_text("no certificate")
        assert "no.pem" in pipelines.fails(2, *words, "--ca-cert=no.pem")
