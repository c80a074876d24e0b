"""A real Kubernetes API server for custom resources, over etcd, with the core API beside it."""

import http.client
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import yaml
from kubernetes import client

from tests.launch.core_server import ADMIN, LAUNCHER, NAMESPACE, CoreServer
from tests.requirements import missing
from tests.store.servers import free_port, is_listening, wait_until

TRAINER = "github.com/kubeflow/trainer/v2@v2.3.0"
API_SERVER = "k8s.io/apiextensions-apiserver@v0.34.3"
ASCENDJOB_CRD = Path(__file__).with_name("ascendjob_crd.yaml")


def find_program(name):
    """Return a program on the PATH, or where `go install` puts it."""
    found = shutil.which(name) or shutil.which(name, path=f"{_go_env('GOPATH')}/bin")
    return Path(found) if found else None


def trainer_file(path):
    """Return a file of the published Kubeflow Trainer; skip the test if it is not downloaded."""
    file = Path(_go_env("GOMODCACHE")) / TRAINER / path
    if not file.is_file():
        missing("trainer-crds", f"go mod download {TRAINER} has not been run")
    return file


def _go_env(name):
    if (go := shutil.which("go")) is None:
        return f"/nowhere/{name}"
    found = subprocess.run([go, "env", name], capture_output=True, text=True, check=True)
    return found.stdout.strip()


class ControlPlane:
    """etcd, the API server and the core server."""

    def __init__(self, folder, etcd, api_server):
        self.folder, self._etcd_program, self._api_program = folder, etcd, api_server
        self.core = CoreServer()
        self.port = free_port()
        self.core.upstream = self.port
        self._etcd_port = free_port()
        self._processes, self._defined = {}, []
        self._client = client.ApiClient(self.configuration(ADMIN))
        self.api = client.CustomObjectsApi(self._client)

    def start(self):
        urls = f"http://127.0.0.1:{self._etcd_port}"
        self._run(
            "etcd",
            str(self._etcd_program),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={urls}",
            f"--advertise-client-urls={urls}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync",
        )
        assert wait_until(lambda: is_listening(self._etcd_port)), self._log("etcd")
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "core", "cluster": {"server": self.core.url}}],
            "contexts": [{"name": "core", "context": {"cluster": "core", "user": "server"}}],
            "users": [{"name": "server", "user": {"token": ADMIN}}],
            "current-context": "core",
        }
        (self.folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
        self.start_api()

    def start_api(self):
        """Start or restart the API server, and wait until it answers."""
        kubeconfig = self.folder / "kubeconfig"
        plugins = (
            "NamespaceLifecycle,MutatingAdmissionPolicy,MutatingAdmissionWebhook,"
            "ValidatingAdmissionPolicy,ValidatingAdmissionWebhook"
        )
        self._run(
            "api",
            str(self._api_program),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self.folder / 'certificates'}",
            "--authentication-skip-lookup",
            "--authentication-token-webhook-cache-ttl=0s",
            "--authorization-webhook-cache-authorized-ttl=0s",
            "--authorization-webhook-cache-unauthorized-ttl=0s",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--kubeconfig={kubeconfig}",
            "--enable-priority-and-fairness=false",
            f"--disable-admission-plugins={plugins}",
        )
        assert wait_until(self._is_ready), self._log("api")
        for path in self._defined:
            assert wait_until(lambda path=path: self._get(path) == 200), self._log("api")

    def kill_api(self):
        self._processes["api"].send_signal(signal.SIGKILL)
        self._processes["api"].wait()

    def stop(self):
        self.core.stop()
        for process in self._processes.values():
            process.kill()
            process.wait()

    def define(self, crd):
        """Define a kind of resource, and wait until the server serves it."""
        client.ApiextensionsV1Api(self._client).create_custom_resource_definition(crd)
        names, group = crd["spec"]["names"], crd["spec"]["group"]
        version = crd["spec"]["versions"][0]["name"]
        path = f"/apis/{group}/{version}/namespaces/{NAMESPACE}/{names['plural']}"
        assert wait_until(lambda: self._get(path) == 200), self._log("api")
        self._defined.append(path)

    def find(self, kind, name):
        """Return a job; None if it does not exist."""
        return next((job for job in self.jobs(kind) if job["metadata"]["name"] == name), None)

    def jobs(self, kind):
        return self.api.list_namespaced_custom_object(*job_path(kind))["items"]

    def delete(self, kind, name):
        """Delete a job, as a user does."""
        self.api.delete_namespaced_custom_object(*job_path(kind), name)

    def set_conditions(self, kind, name, *conditions):
        """Write the status of a job, as its operator does."""
        job = self.api.get_namespaced_custom_object(*job_path(kind), name)
        job["status"] = {"conditions": list(conditions)}
        self.api.replace_namespaced_custom_object_status(*job_path(kind), name, job)

    def configuration(self, token=LAUNCHER):
        """Return the configuration of a client of this cluster."""
        configuration = client.Configuration()
        configuration.host = self.core.url
        configuration.api_key = {"authorization": f"Bearer {token}"}
        configuration.proxy = None
        return configuration

    def _is_ready(self):
        return self._get("/readyz/apiext") == 200 or self._get("/apis/apiextensions.k8s.io") == 200

    def _get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.core.port, timeout=30)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {ADMIN}"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return answer.status

    def _run(self, name, *command):
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"},
            )

    def _log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


@contextmanager
def run_control_plane(folder):
    """Run a control plane with TrainJobs and AscendJobs; skip the test if a part is missing."""
    etcd, api_server = find_program("etcd"), find_program("apiextensions-apiserver")
    if etcd is None:
        missing("kubernetes-api", "etcd is not installed: apt-get install etcd-server")
    if api_server is None:
        missing("kubernetes-api", f"no API server here: go install {API_SERVER}")
    trainjobs = trainer_file("manifests/base/crds/trainer.kubeflow.org_trainjobs.yaml")
    plane = ControlPlane(folder, etcd, api_server)
    try:
        plane.start()
        for path in (trainjobs, ASCENDJOB_CRD):
            plane.define(yaml.safe_load(path.read_text()))
        yield plane
    finally:
        plane.stop()


def job_path(kind):
    return kind.group, kind.version, NAMESPACE, kind.plural


def condition(name, message="", *, reason="", is_true=True):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "type": name,
        "status": str(is_true),
        "reason": reason or name,
        "message": message,
        "lastTransitionTime": now,
    }
