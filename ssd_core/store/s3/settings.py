"""Endpoint, credentials and retry policy of an S3 store, read from the environment."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from ssd_core.errors import UsageError
from ssd_core.store.s3 import credentials

AWS_ENDPOINT = "https://s3.amazonaws.com"
VARIABLES = (
    *credentials.VARIABLES,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_S3_ADDRESSING_STYLE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSD_STORE_PATIENCE",
)
"""Variables that `read_settings` reads."""
_PATHS = ("_FILE", "_BUNDLE")
"""Ends of the names of those whose value is a path."""
_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeouts of one request, and the budget for its retries, in seconds."""

    connect_seconds: float = 10.0
    """Timeout of a connection attempt."""
    idle_seconds: float = 20.0
    """Timeout of a read that returns no byte."""
    budget_seconds: float = 120.0
    """Limit for an operation that makes no progress, including all retries and pauses."""
    pause_seconds: float = 0.2
    """Upper limit of the pause before the first retry; it doubles with each retry."""
    settle_seconds: float = 2.0
    """Wait after a conditional write before its result is read back; 0 is enough where the store
    checks and writes atomically, as Amazon does."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Everything that a connection depends on."""

    endpoint: str = AWS_ENDPOINT
    """`http://` or `https://`, host and port."""
    region: str | None = None
    """None: the store is queried."""
    access_key: str | None = None
    """Without keys and a provider, requests are not signed."""
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    provider: str = ""
    """Credential provider to use without an access key; see `find_provider`."""
    provider_variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Environment variables that the provider reads."""
    addressing: str = "auto"
    """`path` (host/bucket), `virtual` (bucket.host), or `auto`: virtual at AWS, else path."""
    ca_bundle: str | None = None
    """File or directory with additional certificate authorities."""
    ssl_cert_file: str | None = None
    """Another such file, which OpenSSL finds itself; a connection depends on it."""
    proxy: str | None = field(default=None, repr=False)
    """URL of the proxy, which may contain a login."""
    retry_policy: RetryPolicy = RetryPolicy()


def read_settings(environment: Mapping[str, str] = os.environ) -> S3Settings:
    """Return the settings from the variables in docs/stores.md; an empty variable counts as unset.

    Raises:
        UsageError: only half of a key pair is set, or a value is invalid.
    """

    def first(*names: str) -> str | None:
        name = next((name for name in names if environment.get(name)), None)
        return None if name is None else _check_characters(name, environment[name])

    access_key, secret_key = first("AWS_ACCESS_KEY_ID"), first("AWS_SECRET_ACCESS_KEY")
    if (access_key is None) != (secret_key is None):
        given, missing = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")[:: 1 if access_key else -1]
        raise UsageError(
            f"{given} is set but {missing} is not; set both, or neither for a public store"
        )
    own_endpoint = first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = _check_endpoint(own_endpoint) if own_endpoint else AWS_ENDPOINT
    variables = {name: value for name in credentials.VARIABLES if (value := first(name))}
    is_amazon = str(urlsplit(endpoint).hostname).endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return S3Settings(
        endpoint=endpoint,
        # Stores other than Amazon's rarely have regions, and expect this one in a signature.
        region=first("AWS_REGION", "AWS_DEFAULT_REGION") or ("us-east-1" if own_endpoint else None),
        access_key=access_key,
        secret_key=secret_key,
        session_token=first("AWS_SESSION_TOKEN"),
        provider="" if access_key else credentials.find_provider(variables, is_amazon=is_amazon),
        provider_variables=() if access_key else tuple(variables.items()),
        addressing=_check_addressing(first("AWS_S3_ADDRESSING_STYLE") or "auto"),
        ca_bundle=first("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
        ssl_cert_file=first("SSL_CERT_FILE"),
        proxy=find_proxy(endpoint),
        retry_policy=_read_retry_policy(first("SSD_STORE_PATIENCE"), is_amazon=is_amazon),
    )


def find_files(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the files and directories that variables name, as far as they exist."""
    names = [name for name in VARIABLES if name.endswith(_PATHS) and environment.get(name)]
    return [path for name in names if (path := Path(environment[name])).exists()]


def _check_characters(name: str, value: str) -> str:
    """Return a value that fits into a request; errors omit it: it may be a secret."""
    is_path = name.endswith(_PATHS)  # no request contains it
    if not is_path and not (value.isascii() and value.isprintable()):
        raise UsageError(
            f"{name} contains a line break or another character outside of printable ASCII; set it "
            "again without"
        )
    return value


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of `s3://bucket/prefix`.

    Raises:
        UsageError: the bucket name is missing or invalid, the prefix is not a plain path, or the
            URI contains credentials.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if "@" in bucket:
        raise UsageError(
            "an s3:// URI must not contain credentials; expected s3://bucket/prefix, and the keys "
            "in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _BUCKET_NAME.fullmatch(bucket):
        raise UsageError(
            f"'{uri}' has no valid bucket name, which has 3 to 63 characters; "
            "expected s3://bucket/prefix"
        )
    if {".", ".."} & set(prefix.split("/")):
        raise UsageError(f"'{uri}' contains '.' or '..'; expected s3://bucket/prefix without them")
    return bucket, prefix


def _split_url(url: str) -> SplitResult | None:
    """Return the parts of an `http://` or `https://` URL, or None if it is not one."""
    with suppress(ValueError):  # half of an IPv6 address, or a port that is not a number
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts
    return None


def _check_endpoint(url: str) -> str:
    """Return the endpoint without a trailing slash; errors omit the URL: it may hold a password."""
    parts = _split_url(url)
    if not parts or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            "AWS_ENDPOINT_URL is invalid; expected http:// or https://, a host and a port"
        )
    return f"{parts.scheme}://{parts.netloc}"


def find_proxy(endpoint: str) -> str | None:
    """Return the URL of the proxy for an endpoint, from HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""
    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return None
    name = f"{parts.scheme.upper()}_PROXY"
    proxy = _check_characters(name, proxy if "://" in proxy else f"http://{proxy}")
    if not _split_url(proxy):
        raise UsageError(f"{name} is invalid; expected http://host:port")
    return proxy


def _check_addressing(style: str) -> str:
    if style not in {"auto", "path", "virtual"}:
        raise UsageError(f"AWS_S3_ADDRESSING_STYLE is '{style}'; expected auto, path or virtual")
    return style


def _read_retry_policy(seconds: str | None, *, is_amazon: bool) -> RetryPolicy:
    policy = RetryPolicy(settle_seconds=0.0) if is_amazon else RetryPolicy()
    try:
        budget = float(seconds) if seconds else policy.budget_seconds
    except ValueError:
        budget = -1
    if not 0 <= budget < float("inf"):
        raise UsageError(f"SSD_STORE_PATIENCE is '{seconds}'; expected a number of seconds")
    return replace(policy, budget_seconds=budget)
