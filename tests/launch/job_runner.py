"""Runs the pods of TrainJobs as processes: the operator and the kubelet of the tests."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

from ssd_core.launch.manifests import KINDS
from tests.launch.api_server import condition
from tests.launch.conftest import pod_labels
from tests.store.servers import free_port

_KIND = KINDS["TrainJob"]


class JobRunner:
    """A context in which every new TrainJob runs, and ends as its pods end."""

    def __init__(self, plane, folder, secrets):
        self.jobs = []
        """Names of the jobs that ran."""
        self._plane, self._folder, self._secrets = plane, folder, secrets
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._known = {job["metadata"]["name"] for job in self._plane.jobs(_KIND)}
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _work(self):
        while not self._is_over.is_set():
            for job in self._plane.jobs(_KIND):
                name = job["metadata"]["name"]
                if name not in self._known:
                    self._known.add(name)
                    self.jobs.append(name)
                    self._run(name, job["spec"]["trainer"])
            time.sleep(0.1)

    def _run(self, name, trainer):
        port = free_port()
        nodes = [self._start(name, trainer, node, port) for node in range(trainer["numNodes"])]
        codes = [self._finish(name, node, process) for node, process in enumerate(nodes)]
        end = condition("Failed", "a pod failed") if any(codes) else condition("Complete")
        self._plane.set_conditions(_KIND, name, end)

    def _start(self, name, trainer, node, port):
        labels = pod_labels(_KIND, name, node)
        self._plane.core.add_pod(f"{name}-{node}", labels, _KIND.container)
        variables = {
            "PET_NODE_RANK": str(node),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
        }
        for entry in trainer["env"]:
            reference = entry.get("valueFrom", {}).get("secretKeyRef", {})
            variables[entry["name"]] = entry.get("value") or self._secrets[reference["key"]]
        variables["SSD_TERMINATION_LOG"] = str(self._termination_log(name, node))
        command = [
            re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], word)
            for word in trainer["command"]
        ]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.Popen(
            command,
            env=os.environ | variables | {"PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _finish(self, name, node, process):
        output, _ = process.communicate()
        pod = f"{name}-{node}"
        self._plane.core.logs[pod].write(*output.splitlines())
        path = self._termination_log(name, node)
        message = path.read_text() if path.exists() else ""
        self._plane.core.end_pod(pod, process.returncode, message=message)
        return process.returncode

    def _termination_log(self, name, node):
        return self._folder / f"{name}-{node}.termination-log"
