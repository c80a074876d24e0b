"""The cluster that the launcher connects to, and its own pod as the owner of the job."""

import pytest

from ssd_core.errors import UsageError
from ssd_core.launch.cluster import connect, owner_references

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "http://127.0.0.1:6443"}}]
users: [{name: me, user: {token: secret-token}}]
contexts: [{name: here, context: {cluster: one, user: me, namespace: team}}]
current-context: here
"""


@pytest.fixture
def kubeconfig(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("old", "new", "namespace"), [("", "", "team"), (", namespace: team", "", "default")]
)
def test_a_kubeconfig_names_server_and_namespace(kubeconfig, old, new, namespace):
    kubeconfig.write_text(KUBECONFIG.replace(old, new))
    configuration, found = connect()
    assert (configuration.host, found) == ("http://127.0.0.1:6443", namespace)
    assert configuration.api_key == {"authorization": "Bearer secret-token"}


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "just a text",
        "{broken: [",
        KUBECONFIG.replace("current-context: here", ""),
        KUBECONFIG.replace("current-context: here", "current-context: there"),
        KUBECONFIG.replace("cluster: one, user", "cluster: two, user"),
    ],
)
def test_an_unusable_kubeconfig_is_refused_without_secrets(kubeconfig, content):
    if content is not None:
        kubeconfig.write_text(content)
    with pytest.raises(UsageError) as caught:
        connect()
    text = str(caught.value)
    assert text.startswith(
        "no cluster to launch in: not running in a pod, and no usable kubeconfig: "
    )
    assert "secret-token" not in text


def test_a_pod_of_kubeflow_pipelines_is_the_owner():
    pod = {"KFP_POD_NAME": "training-1-launcher", "KFP_POD_UID": "uid-1"}
    assert owner_references(pod) == [
        {"apiVersion": "v1", "kind": "Pod", "name": "training-1-launcher", "uid": "uid-1"}
    ]
    assert owner_references({}) == []
