"""Progress of a training in the status of its TrainJob, where Kubeflow Trainer offers that.

Trainer 2.2 and later, with the feature gate TrainJobStatus, sets three variables in its pods: the
address of its server, and the paths of the token and of the certificate that it renews.
"""

import json
import os
import queue
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from ssd_core.logs import logger
from ssd_core.train_log import LineListener, TrainingProgress, find_progress

URL = "KUBEFLOW_TRAINER_SERVER_URL"
TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"
CERTIFICATE = "KUBEFLOW_TRAINER_SERVER_CA_CERT"

_INTERVAL = 5.0
"""Seconds between two requests, as Trainer demands."""
_TIMEOUT = 5.0

_Queue = queue.SimpleQueue[TrainingProgress | None]


@contextmanager
def report_to_trainjob() -> Iterator[LineListener]:
    """Yield a listener that reports progress, in the background; without Trainer it does nothing.

    A server that does not answer delays the end by at most 10 seconds and affects nothing else.
    """
    if any(name not in os.environ for name in (URL, TOKEN, CERTIFICATE)):
        yield lambda line: None
        return
    news: _Queue = queue.SimpleQueue()
    latest: dict[str, Mapping[str, Any]] = {}

    def listen(line: Mapping[str, Any]) -> None:
        latest[line["event"]] = line
        if (progress := find_progress(latest)) is not None:
            news.put(progress)

    thread = threading.Thread(target=_report, args=(news,), name="trainjob", daemon=True)
    thread.start()
    try:
        yield listen
    finally:
        news.put(None)
        thread.join(_INTERVAL + _TIMEOUT)


def _report(news: _Queue) -> None:
    """Send the newest progress after every interval, until None comes."""
    sent, has_failed = -_INTERVAL, False
    while (newest := news.get()) is not None:
        time.sleep(max(0.0, sent + _INTERVAL - time.monotonic()))
        is_over = False
        with suppress(queue.Empty):
            while not is_over:
                following = news.get_nowait()
                newest, is_over = following or newest, following is None
        sent = time.monotonic()
        try:
            _send(newest)
            has_failed = False
        except Exception as error:  # of any kind: the training goes on
            if not has_failed:
                logger.warning("cannot report the progress to the TrainJob: %s", error)
            has_failed = True
        if is_over:
            return


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
