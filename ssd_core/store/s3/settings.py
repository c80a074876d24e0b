"""How to reach an S3 store, from the `AWS_*` variables that every S3 tool reads."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from ssd_core.errors import UsageError

AWS_ENDPOINT = "https://s3.amazonaws.com"
_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a store, in seconds."""

    connect_seconds: float = 10.0
    """For a connection."""
    idle_seconds: float = 20.0
    """For the next byte of an answer."""
    budget_seconds: float = 120.0
    """For a verb that makes no progress, all its repetitions and pauses together."""
    pause_seconds: float = 0.2
    """At most before the first repetition; it doubles each time."""
    settle_seconds: float = 2.0
    """Before a writer believes that he was the only one; none are needed where the store checks
    and writes in one step, as Amazon's does."""


@dataclass(frozen=True, slots=True)
class S3Settings:
    """An endpoint, and who asks."""

    endpoint: str = AWS_ENDPOINT
    """`http://` or `https://`, host and port."""
    region: str | None = None
    """None: ask the store."""
    access_key: str | None = None
    """None: anonymous."""
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    addressing: str = "auto"
    """`path` (host/bucket), `virtual` (bucket.host), or `auto`: virtual at AWS, else path."""
    ca_bundle: str | None = None
    """File or folder with further certificate authorities."""
    patience: Patience = Patience()


def read_settings(environment: Mapping[str, str] = os.environ) -> S3Settings:
    """Return the settings that the environment gives; an empty variable counts as unset.

    Variables: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION,
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_S3_ADDRESSING_STYLE,
    AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE (SSL_CERT_FILE is honoured too), and
    SSD_STORE_PATIENCE, the budget in seconds.

    Raises:
        UsageError: half of a key pair, or a value that cannot be.
    """

    def first(*names: str) -> str | None:
        return next((environment[name] for name in names if environment.get(name)), None)

    access_key, secret_key = first("AWS_ACCESS_KEY_ID"), first("AWS_SECRET_ACCESS_KEY")
    if (access_key is None) != (secret_key is None):
        given, missing = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")[:: 1 if access_key else -1]
        raise UsageError(f"{given} is set but {missing} is not; set both, or none for a public one")
    endpoint = first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return S3Settings(
        endpoint=_check_endpoint(endpoint) if endpoint else AWS_ENDPOINT,
        # Stores that are not Amazon's rarely have regions, and expect this one in a signature.
        region=first("AWS_REGION", "AWS_DEFAULT_REGION") or ("us-east-1" if endpoint else None),
        access_key=access_key,
        secret_key=secret_key,
        session_token=first("AWS_SESSION_TOKEN"),
        addressing=_check_addressing(first("AWS_S3_ADDRESSING_STYLE") or "auto"),
        ca_bundle=first("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"),
        patience=_read_patience(first("SSD_STORE_PATIENCE"), is_amazon=not endpoint),
    )


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and prefix of `s3://bucket/prefix`.

    Raises:
        UsageError: no bucket, a name that no bucket can have, or credentials in the URI.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if "@" in bucket:
        raise UsageError(
            "an s3:// URI holds no credentials; expected s3://bucket/prefix, and the keys in "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _BUCKET_NAME.fullmatch(bucket):
        raise UsageError(
            f"'{uri}' names no bucket, whose name has 3 to 63 characters; "
            "expected s3://bucket/prefix"
        )
    return bucket, prefix


def _check_endpoint(url: str) -> str:
    """Return the endpoint without a trailing slash; the URL may hold a password, so no echo."""
    parts = urlsplit(url)
    try:
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError(
            "AWS_ENDPOINT_URL cannot be used; expected http:// or https://, a host and a port"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _check_addressing(style: str) -> str:
    if style not in {"auto", "path", "virtual"}:
        raise UsageError(f"AWS_S3_ADDRESSING_STYLE is '{style}'; expected auto, path or virtual")
    return style


def _read_patience(seconds: str | None, *, is_amazon: bool) -> Patience:
    patience = Patience(settle_seconds=0.0) if is_amazon else Patience()
    try:
        budget = float(seconds) if seconds else patience.budget_seconds
    except ValueError:
        budget = -1
    if not 0 <= budget < float("inf"):
        raise UsageError(f"SSD_STORE_PATIENCE is '{seconds}'; expected a number of seconds")
    return replace(patience, budget_seconds=budget)
