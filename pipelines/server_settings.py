"""Where Kubeflow Pipelines is and who asks, as options and as the variables that kfp reads."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ssd_core.errors import UsageError


def _option(flag: str, variables: list[str], metavar: str, about: str, **more: Any) -> Any:
    return typer.Option(
        flag, envvar=variables, metavar=metavar, help=about, rich_help_panel="Server", **more
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Options of every verb that speaks with a server."""

    endpoint: Annotated[
        str | None,
        _option(
            "--endpoint",
            ["KF_PIPELINES_ENDPOINT", "KFP_ENDPOINT"],
            "URL",
            "Address of Kubeflow Pipelines, for example http://localhost:8888.",
        ),
    ] = None
    ui_endpoint: Annotated[
        str | None,
        _option(
            "--ui-endpoint",
            ["KF_PIPELINES_UI_ENDPOINT"],
            "URL",
            "Address of its pages, where they have another.",
        ),
    ] = None
    namespace: Annotated[
        str | None,
        _option(
            "--namespace",
            ["KF_PIPELINES_NAMESPACE", "KFP_NAMESPACE"],
            "NAME",
            "Your profile, where the server has users.",
        ),
    ] = None
    token: Annotated[
        str | None,
        _option(
            "--token",
            ["KFP_EXISTING_TOKEN"],
            "TEXT",
            "Bearer token. Other users of this machine see options, but no variables.",
        ),
    ] = field(default=None, repr=False)
    token_file: Annotated[
        Path | None,
        _option(
            "--token-file",
            ["KF_PIPELINES_SA_TOKEN_PATH"],
            "FILE",
            "File with the bearer token, read again for every call.",
        ),
    ] = None
    cookies: Annotated[
        str | None,
        _option(
            "--cookies",
            ["KF_PIPELINES_COOKIES"],
            "TEXT",
            "Cookies of a session in the browser: authservice_session=...",
        ),
    ] = field(default=None, repr=False)
    ca_cert: Annotated[
        Path | None,
        _option(
            "--ca-cert",
            ["KF_PIPELINES_CA_CERT", "SSL_CERT_FILE"],
            "FILE",
            "Certificate authorities to trust.",
        ),
    ] = None
    timeout: Annotated[
        float,
        _option(
            "--timeout",
            ["KF_PIPELINES_TIMEOUT"],
            "SECONDS",
            "How long to wait for each answer.",
            min=0.1,
        ),
    ] = 30.0

    def read_endpoint(self) -> str:
        """Return the endpoint without a slash at its end.

        Raises:
            UsageError: there is none, or it cannot be one.
        """
        if not self.endpoint:
            raise UsageError(
                "no endpoint: give --endpoint or set KF_PIPELINES_ENDPOINT; after `kubectl -n "
                "kubeflow port-forward svc/ml-pipeline 8888` it is http://localhost:8888"
            )
        if "@" in self.endpoint:
            raise UsageError("the endpoint holds a password; give --token-file or --cookies")
        if not _is_address(self.endpoint):
            raise UsageError(f"endpoint '{self.endpoint}': expected http://HOST or https://HOST")
        return self.endpoint.rstrip("/")

    def read_token(self) -> str | None:
        """Return the bearer token; that of a file comes first, because clusters replace it.

        Raises:
            UsageError: the file cannot be read, or no header can carry the token.
        """
        token = self.token
        if self.token_file:
            try:
                token = self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not a text"
                raise UsageError(f"--token-file {self.token_file}: {reason}") from None
        return None if token is None else _check_header(token, "the token")

    def read_cookies(self) -> str | None:
        """Return the cookies.

        Raises:
            UsageError: no header can carry them.
        """
        return None if self.cookies is None else _check_header(self.cookies, "--cookies")

    def check_ca_cert(self) -> None:
        """Check that the file holds certificates, before a connection would fail for it.

        Raises:
            UsageError: it does not.
        """
        try:
            ssl.create_default_context(cafile=self.ca_cert)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                f"--ca-cert {self.ca_cert}: no certificates can be read there ({error.strerror})"
            ) from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half of an IPv6 address, or a port that is no number
        return False


def _check_header(value: str, what: str) -> str:
    """Return a secret that a header can carry; the trace of one that cannot would show it."""
    if not (value and value.isascii() and value.isprintable()):
        raise UsageError(f"{what}: empty, or with signs that no header can carry")
    return value
