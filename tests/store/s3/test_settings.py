import re
from pathlib import Path

import pytest

from ssd_core.errors import UsageError
from ssd_core.store.s3.directory import S3Directory
from ssd_core.store.s3.settings import VARIABLES, RetryPolicy, S3Settings, read_settings
from tests.processes import run_ssd
from tests.store.conftest import assert_no_secrets, refusal

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary"}


def test_an_empty_environment_means_amazon_and_its_roles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without credentials of the user
    settings = read_settings({})
    policy = RetryPolicy(settle_seconds=0)
    assert settings == S3Settings(provider="instance role", retry_policy=policy)
    assert settings.access_key is settings.region is None


class Recorder(dict[str, str]):
    """An environment without variables that records which ones are read."""

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self[name] = default
        return default


def test_exactly_the_listed_variables_are_read() -> None:
    environment = Recorder()
    read_settings(environment)
    assert environment.keys() == set(VARIABLES)


def test_every_variable() -> None:
    environment = KEYS | {
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "https://store:9000/",
        "AWS_REGION": "eu-1",
        "AWS_S3_ADDRESSING_STYLE": "virtual",
        "AWS_CA_BUNDLE": "/ca.pem",
        "SSD_STORE_PATIENCE": "7.5",
    }
    assert read_settings(environment) == S3Settings(
        endpoint="https://store:9000",
        region="eu-1",
        access_key="id",
        secret_key="canary",
        session_token="token",
        addressing="virtual",
        ca_bundle="/ca.pem",
        retry_policy=RetryPolicy(budget_seconds=7.5),
    )


def test_the_specific_variable_wins_and_an_empty_one_is_unset() -> None:
    environment = {
        "AWS_ENDPOINT_URL": "http://other",
        "AWS_ENDPOINT_URL_S3": "http://store:1",
        "AWS_REGION": "",
        "AWS_DEFAULT_REGION": "eu-2",
        "REQUESTS_CA_BUNDLE": "/other.pem",
        "AWS_ACCESS_KEY_ID": "",
    }
    settings = read_settings(environment)
    assert settings.endpoint == "http://store:1"
    assert settings.region == "eu-2"
    assert settings.ca_bundle == "/other.pem"
    assert settings.access_key is None


def test_secrets_are_not_shown() -> None:
    settings = read_settings(KEYS | {"AWS_SESSION_TOKEN": "canary-token"})
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AWS_ACCESS_KEY_ID": "id"}, "AWS_ACCESS_KEY_ID is set but AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, "AWS_SECRET_ACCESS_KEY is set but AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "store:9000"}, "AWS_ENDPOINT_URL is invalid; expected http://"),
        ({"AWS_ENDPOINT_URL": "http://u:canary@store"}, "AWS_ENDPOINT_URL is invalid"),
        ({"AWS_ENDPOINT_URL": "http://store/bucket"}, "AWS_ENDPOINT_URL is invalid"),
        ({"AWS_ENDPOINT_URL": "http://store:port"}, "AWS_ENDPOINT_URL is invalid"),
        ({"AWS_ENDPOINT_URL": "http://[canary"}, "AWS_ENDPOINT_URL is invalid"),
        ({"AWS_ENDPOINT_URL": "http://store?x=canary"}, "AWS_ENDPOINT_URL is invalid"),
        ({"AWS_S3_ADDRESSING_STYLE": "odd"}, "'odd'; expected auto, path or virtual"),
        ({"SSD_STORE_PATIENCE": "long"}, "'long'; expected a number of seconds"),
        ({"SSD_STORE_PATIENCE": "-1"}, "'-1'; expected a number of seconds"),
        ({"SSD_STORE_PATIENCE": "nan"}, "'nan'; expected a number of seconds"),
    ],
)
def test_invalid_values(environment: dict[str, str], expected: str) -> None:
    assert expected in refusal(lambda: read_settings(environment), UsageError)


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x7f", "é", "\udc80"])
@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_S3_ADDRESSING_STYLE",
        "SSD_STORE_PATIENCE",
    ],
)
def test_a_character_that_no_request_can_carry(name: str, character: str) -> None:
    environment = KEYS | {name: f"canary{character}"}
    text = refusal(lambda: read_settings(environment), UsageError)
    assert text.startswith(f"{name} contains a line break or another character outside of")


def test_a_secret_with_a_line_break_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary\n")
    monkeypatch.setenv("SSD_TERMINATION_LOG", str(tmp_path / "log"))
    for command in (["verify"], ["inspect", "--out", str(tmp_path / "out"), "--data"]):
        done = run_ssd(*command, "s3://bucket/data")
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: AWS_SESSION_TOKEN contains a line break")
        assert_no_secrets(done.stdout + done.stderr + (tmp_path / "log").read_text())


@pytest.mark.parametrize("bucket", ["my..bucket", "192.168.1.1"])
def test_a_value_error_of_the_client_is_not_shown(bucket: str) -> None:
    settings = S3Settings(endpoint="http://store", secret_key="canary")
    for call in (S3Directory(bucket, "", settings).head, S3Directory(bucket, "", settings).list):
        text = refusal(lambda call=call: list(call("key") or ()), UsageError)
        assert "no request can be made from this URI and these settings" in text


def test_an_invalid_region() -> None:
    settings = S3Settings(endpoint="http://store", region="no region")
    assert "AWS_REGION" in refusal(
        lambda: S3Directory("bucket", "", settings).head("key"), UsageError
    )


def test_the_documentation_lists_every_variable() -> None:
    root = Path(__file__).parents[3]
    code = "".join(path.read_text() for path in (root / "ssd_core" / "store").rglob("*.py"))
    read = set(re.findall(r"\"((?:AWS|REQUESTS|SSD|SSL)_[A-Z0-9_]+)\"", code))
    assert len(read) > 10
    named = set(re.findall(r"`([A-Z0-9_]+)`", (root / "docs" / "stores.md").read_text()))
    assert read <= named
