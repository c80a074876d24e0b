"""Progress of a training in the status of its TrainJob, where Kubeflow Trainer offers that.

Trainer 2.2 and later, with the feature gate TrainJobStatus, sets three variables in its pods: the
address of its server, and the paths of the token and of the certificate that it renews.
"""

import json
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from ssd_core.tracking.background import Line, in_background
from ssd_core.train_log import LineListener, TrainingProgress, find_progress

URL = "KUBEFLOW_TRAINER_SERVER_URL"
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"
CERTIFICATE = "KUBEFLOW_TRAINER_SERVER_CA_CERT"

_INTERVAL = 5.0
"""Seconds between two requests, as Trainer demands."""
_TIMEOUT = 5.0


@contextmanager
def report_to_trainjob() -> Iterator[LineListener]:
    """Yield a listener that reports progress, in the background; without Trainer it does nothing.

    A server that does not answer delays the end by at most 10 seconds and affects nothing else.
    """
    if any(name not in os.environ for name in (URL, TOKEN, CERTIFICATE)):
        yield lambda line: None
        return
    latest: dict[str, Line] = {}

    def send(lines: Sequence[Line]) -> None:
        latest.update((line["event"], line) for line in lines)
        if (progress := find_progress(latest)) is not None:
            _send(progress)

    with in_background("TrainJob", send, interval=_INTERVAL, timeout=_TIMEOUT) as listener:
        yield listener


def _send(progress: TrainingProgress) -> None:
    status = {
        "progressPercentage": progress.percent,
        "estimatedRemainingSeconds": progress.seconds_left,
        "metrics": [
            {"name": name, "value": f"{value:.6g}"} for name, value in progress.metrics.items()
        ],
        "lastUpdatedTime": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    known = {name: value for name, value in status.items() if value is not None}
    with open(os.environ[TOKEN]) as file:  # it is renewed every hour
        token = file.read().strip()
    request = Request(
        os.environ[URL],
        json.dumps({"trainerStatus": known}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=os.environ[CERTIFICATE])
    direct = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    direct.open(request, timeout=_TIMEOUT).close()
