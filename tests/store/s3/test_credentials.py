"""Credentials from profiles, web identities and roles: real services on this machine."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ssd_core.errors import TransientError, UsageError
from ssd_core.store import Location
from ssd_core.store.s3.settings import read_settings
from tests.store.conftest import new_location, refusal
from tests.store.servers import SECRET_KEY, S3Server

ROLE = "arn:aws:iam::123456789012:role/ssd"


class CredentialService(ThreadingHTTPServer):
    """The services of instance roles, containers and web identities; `seen` are the requests."""

    daemon_threads = True

    def __init__(self, access_key: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.access_key = access_key
        self.seen: list[str] = []
        self.lifetime = timedelta(hours=1)
        self.status = 200
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, target: str, headers: dict[str, str]) -> str | None:
        """Return the body of a response, or None where the service would refuse the request."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        self.seen.append(f"{method} {path}")
        expiration = (datetime.now(timezone.utc) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        if query.get("Action") == ["AssumeRoleWithWebIdentity"]:
            is_known = query["WebIdentityToken"] == ["canary-token"] and query["RoleArn"] == [ROLE]
            return _IDENTITY.format(self.access_key, SECRET_KEY, expiration) if is_known else None
        if path == "/latest/api/token":
            return "canary-session" if method == "PUT" else None
        if path.startswith("/latest/meta-data"):
            if headers.get("x-aws-ec2-metadata-token") != "canary-session":
                return None
            if path.endswith("/security-credentials/"):
                return "ssd-role"
        elif headers.get("authorization") != "canary-container":
            return None
        keys = {"AccessKeyId": self.access_key, "SecretAccessKey": SECRET_KEY, "Token": ""}
        return json.dumps(keys | {"Expiration": expiration})


class _Handler(BaseHTTPRequestHandler):
    server: CredentialService

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.server.answer(self.command, self.path, headers)
        self.send_response(403 if body is None else self.server.status)
        self.send_header("Content-Length", str(len(body or "")))
        self.end_headers()
        self.wfile.write((body or "").encode())

    do_GET = do_PUT = do_POST = _respond  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


_IDENTITY = """<AssumeRoleWithWebIdentityResponse
xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken></SessionToken>
<Expiration>{}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@pytest.fixture
def service(versitygw: S3Server) -> Iterator[CredentialService]:
    with CredentialService(versitygw.access_key) as started:
        thread = threading.Thread(target=started.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield started
        started.shutdown()


@pytest.fixture
def variables(service: CredentialService, tmp_path: Path) -> dict[str, dict[str, str]]:
    """The environment of a process for each kind of credentials."""
    profiles, token = tmp_path / "credentials", tmp_path / "token"
    key = f"aws_access_key_id = {service.access_key}\naws_secret_access_key = {SECRET_KEY}\n"
    profiles.write_text(f"[default]\n[team]\n{key}[half]\naws_access_key_id = canary\n")
    token.write_text("canary-token")
    (tmp_path / "container-token").write_text("canary-container")
    return {
        "profile": {"AWS_PROFILE": "team", "AWS_SHARED_CREDENTIALS_FILE": str(profiles)},
        "web identity": {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ROLE_ARN": ROLE,
            "AWS_ENDPOINT_URL_STS": service.endpoint,
        },
        "container role": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.endpoint}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary-container",
        },
        "container role with a token file": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.endpoint}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "container-token"),
        },
        "instance role": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.endpoint},
    }


SERVICES = ["web identity", "container role", "instance role"]
NAMES = ["profile", "container role with a token file", *SERVICES]


@pytest.fixture
def store(
    user_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, dict[str, str]],
    name: str,
) -> Location:
    """An empty directory in versitygw for a user without keys."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    for variable, value in variables[name].items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("SSD_STORE_PATIENCE", "0.1")
    return new_location()


@pytest.mark.parametrize("name", NAMES)
def test_a_user_without_keys(store: Location, service: CredentialService, name: str) -> None:
    store.put("key", b"content")
    assert store.get("key") == b"content"
    assert [found.key for found in store.list()] == ["key"]
    credentials = [line for line in service.seen if "token" not in line]
    assert len(credentials) == {"profile": 0, "instance role": 2}.get(name, 1)


@pytest.mark.parametrize("name", SERVICES)
def test_expired_credentials_are_renewed(store: Location, service: CredentialService) -> None:
    service.lifetime = timedelta(seconds=1)
    store.put("key", b"content")
    num_requests = len(service.seen)
    store.put("key", b"content")
    assert len(service.seen) > num_requests


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_fails_is_not_the_fault_of_the_user(
    store: Location, service: CredentialService, name: str
) -> None:
    service.status = 404
    text = refusal(lambda: store.head("key"), TransientError)
    assert text.startswith(f"the service of the {name} returns no credentials; check the role of")
    assert "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in text
    service.status = 200
    store.put("key", b"content")


@pytest.mark.parametrize("name", ["profile"])
@pytest.mark.parametrize("profile", ["default", "half", "nobody"])
def test_a_profile_without_keys(
    store: Location, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    text = refusal(lambda: store.head("key"), UsageError)
    assert text.startswith("the profile has no aws_access_key_id or no aws_secret_access_key; ")


@pytest.mark.parametrize("name", ["profile"])
def test_a_file_of_another_form_is_not_shown(
    store: Location, variables: dict[str, dict[str, str]]
) -> None:
    path = Path(variables["profile"]["AWS_SHARED_CREDENTIALS_FILE"])
    path.write_text("canary before any section\n")
    assert "check AWS_PROFILE" in refusal(lambda: store.head("key"), UsageError)


@pytest.mark.parametrize(
    ("environment", "provider"),
    [
        ({}, "instance role"),
        ({"AWS_ENDPOINT_URL": "http://store:1"}, ""),
        ({"AWS_ENDPOINT_URL": "https://s3.eu-central-1.amazonaws.com"}, "instance role"),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, ""),
        ({"AWS_PROFILE": "team", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}, "web identity"),
        ({"AWS_PROFILE": "team", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}, "profile"),
        ({"AWS_PROFILE": "team", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, ""),
    ],
)
def test_the_first_source_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], provider: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings(environment).provider == provider


def test_the_file_of_the_home_directory_is_a_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings({}).provider == "profile"
