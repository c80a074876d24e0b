"""Waiting for a run while its server fails or refuses."""

from pathlib import Path

from tests.pipelines.cluster.kfp_server import Fault, KfpServer
from tests.pipelines.cluster.test_submit import QUICK, submitted
from tests.pipelines.conftest import Command


def test_waiting_survives_an_outage(pipelines: Command, kfp_server: KfpServer) -> None:
    run = submitted(pipelines)
    request = f"GET /runs/{run}"
    kfp_server.faults += [
        Fault(503, after=request, times=3),
        Fault(is_silent=True, after=request),
    ]
    code, out, err = pipelines("wait", run, *QUICK, "--timeout=0.3")
    assert code == 0, err
    assert out.endswith("succeeded\n")
    assert err.count("returned 503, try later") == 3
    assert err.count("no answer within 0.3 s") == 1


def test_waiting_ends_after_a_long_outage(pipelines: Command, kfp_server: KfpServer) -> None:
    run = submitted(pipelines)
    kfp_server.faults.append(Fault(503, after=f"GET /runs/{run}", times=1_000_000))
    message = pipelines.fails(75, "wait", run, *QUICK, "--patience=0.1")
    assert message.endswith("gave up after 0.1 s, the run itself continues")


def test_waiting_reads_a_renewed_token_and_stops_when_it_is_refused(
    pipelines: Command, kfp_server: KfpServer, tmp_path: Path
) -> None:
    run = submitted(pipelines)
    path = tmp_path / "token"
    path.write_text("first")
    kfp_server.token = "first"

    def replace_token() -> None:
        kfp_server.token = "second"
        path.write_text("second")

    kfp_server.on_request[f"GET /runs/{run}"] = replace_token
    words = ("wait", run, *QUICK, f"--token-file={path}")
    assert pipelines.lines(*words)[-1] == "succeeded"
    kfp_server.faults.append(Fault(401, after=f"GET /runs/{run}"))
    assert "not logged in (401)" in pipelines.fails(2, *words)
