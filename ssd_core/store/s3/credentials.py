"""Credentials of an S3 store from the client's own providers, chosen by the environment.

No text of the client enters a message: it may contain tokens, and lines of a credentials file.
"""

from collections.abc import Callable, Mapping
from configparser import Error as FileError
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from minio.credentials import AWSConfigProvider, Credentials, IamAwsProvider
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from ssd_core.errors import TransientError, UsageError

_PROFILE, _WEB_IDENTITY = "profile", "web identity"
_CONTAINER_ROLE, _INSTANCE_ROLE = "container role", "instance role"
_PROVIDERS = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": _WEB_IDENTITY,
    "AWS_PROFILE": _PROFILE,
    "AWS_SHARED_CREDENTIALS_FILE": _PROFILE,
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": _CONTAINER_ROLE,
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": _CONTAINER_ROLE,
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": _INSTANCE_ROLE,
}
"""Providers by the variable that selects them; the first variable that is set counts."""
_IDENTITY_SERVICE = "https://sts.amazonaws.com"
VARIABLES = (
    *_PROVIDERS,
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL_STS",
)
"""Variables that a provider depends on."""


def find_provider(variables: Mapping[str, str], *, is_amazon: bool) -> str:
    """Return the name of the provider, or "" if the requests are not signed."""
    for variable, name in _PROVIDERS.items():
        if variable in variables:
            return name
    if Path("~/.aws/credentials").expanduser().is_file():
        return _PROFILE
    is_disabled = variables.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    return _INSTANCE_ROLE if is_amazon and not is_disabled else ""


def open_provider(
    name: str, variables: Mapping[str, str], open_identity_pool: Callable[[str], PoolManager]
) -> "Provider | None":
    """Return the provider of this name, or None if the requests are not signed.

    `open_identity_pool` returns connections to a service that exchanges a web identity.
    """
    if not name:
        return None
    if name == _PROFILE:
        return Provider(name, AWSConfigProvider())
    if name == _WEB_IDENTITY:
        url = variables.get("AWS_ENDPOINT_URL_STS")
        pool = open_identity_pool(url or _IDENTITY_SERVICE)
        return Provider(name, IamAwsProvider(custom_endpoint=url, http_client=pool))
    nearby = PoolManager(timeout=Timeout(connect=1, read=5), retries=Retry(1, backoff_factor=0.2))
    if name == _CONTAINER_ROLE:
        return Provider(name, IamAwsProvider(http_client=nearby))
    url = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/")
    instance = IamAwsProvider(custom_endpoint=url or None, http_client=nearby)
    # Outside of Amazon no service answers, and the store may be public.
    return Provider(name, instance) if url or _answers(instance) else None


def _answers(client_provider: Any) -> bool:
    try:
        client_provider.retrieve()
    except HTTPError:
        return False
    except (ValueError, LookupError):  # the first request reports it
        pass
    return True


class Provider:
    """A provider of the client whose errors name the cause and the remedy."""

    def __init__(self, name: str, client_provider: Any) -> None:
        self._name, self._client_provider = name, client_provider

    def retrieve(self) -> Credentials:
        """Return the credentials, renewed if they have expired.

        Raises:
            UsageError: the profile or its file cannot be used.
            TransientError: the service does not answer, or refuses.
        """
        with suppress(HTTPError, FileError, ParseError, ValueError, LookupError, OSError):
            return self._client_provider.retrieve()
        if self._name == _PROFILE:
            raise UsageError(
                "the profile has no aws_access_key_id or no aws_secret_access_key; check "
                "AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE and ~/.aws/credentials"
            )
        raise TransientError(
            f"the service of the {self._name} returns no credentials; check the role of this "
            "machine or service account, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, then "
            "repeat the command"
        )
