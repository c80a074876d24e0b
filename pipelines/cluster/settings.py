"""Address and credentials of Kubeflow Pipelines, as options and as the variables that kfp reads."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from ssd_core.errors import UsageError


def _option(metavar: str, about: str, *variables: str, **more: Any) -> Any:
    return typer.Option(
        envvar=list(variables), metavar=metavar, help=about, rich_help_panel="Server", **more
    )


_endpoint = _option(
    "URL",
    "Address of Kubeflow Pipelines, for example http://localhost:8888.",
    *("KF_PIPELINES_ENDPOINT", "KFP_ENDPOINT"),
)
_ui_endpoint = _option("URL", "Address of its pages, if different.", "KF_PIPELINES_UI_ENDPOINT")
_namespace = _option(
    "NAME", "Your profile, on a server with users.", "KF_PIPELINES_NAMESPACE", "KFP_NAMESPACE"
)
_token = _option(
    "TEXT",
    "Bearer token. Other users of this machine see options, but not variables.",
    "KFP_EXISTING_TOKEN",
)
_token_file = _option(
    "FILE", "File with the bearer token, read for each call.", "KF_PIPELINES_SA_TOKEN_PATH"
)
_cookies = _option(
    "TEXT", "Cookies of a browser session: authservice_session=...", "KF_PIPELINES_COOKIES"
)
_ca_cert = _option(
    "FILE", "Certificate authorities to trust.", "KF_PIPELINES_CA_CERT", "SSL_CERT_FILE"
)
_timeout = _option("SECONDS", "Timeout of each call.", "KF_PIPELINES_TIMEOUT", min=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Options of every verb that calls a server."""

    endpoint: Annotated[str | None, _endpoint] = None
    ui_endpoint: Annotated[str | None, _ui_endpoint] = None
    namespace: Annotated[str | None, _namespace] = None
    token: Annotated[str | None, _token] = field(default=None, repr=False)
    token_file: Annotated[Path | None, _token_file] = None
    cookies: Annotated[str | None, _cookies] = field(default=None, repr=False)
    ca_cert: Annotated[Path | None, _ca_cert] = None
    timeout: Annotated[float, _timeout] = 30.0

    def read_endpoint(self) -> str:
        """Return the endpoint without a trailing slash.

        Raises:
            UsageError: the endpoint is missing or malformed.
        """
        if not self.endpoint:
            raise UsageError(
                "no endpoint: give --endpoint or set KF_PIPELINES_ENDPOINT; after `kubectl -n "
                "kubeflow port-forward svc/ml-pipeline 8888` it is http://localhost:8888; a local "
                "run has none: `results RUN --root DIR` prints its results"
            )
        if "@" in self.endpoint:
            raise UsageError("the endpoint contains a password; give --token-file or --cookies")
        if not _is_address(self.endpoint):
            raise UsageError(f"endpoint '{self.endpoint}': expected http://HOST or https://HOST")
        return self.endpoint.rstrip("/")

    def read_token(self) -> str | None:
        """Return the bearer token; the file takes precedence because clusters renew it.

        Raises:
            UsageError: the file cannot be read, or the token is not valid in a header.
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
            UsageError: they are not valid in a header.
        """
        return None if self.cookies is None else _check_header(self.cookies, "--cookies")

    def check_ca_cert(self) -> None:
        """Check that the file contains certificates, before a connection fails for it.

        Raises:
            UsageError: it does not.
        """
        try:
            ssl.create_default_context(cafile=self.ca_cert)
        except OSError as error:  # ssl.SSLError is a subclass
            raise UsageError(
                f"--ca-cert {self.ca_cert}: contains no readable certificates ({error.strerror})"
            ) from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half of an IPv6 address, or a port that is not a number
        return False


def _check_header(value: str, name: str) -> str:
    """Return a secret that is valid in a header; the traceback of an invalid one would show it."""
    if not (value and value.isascii() and value.isprintable()):
        raise UsageError(f"{name}: empty, or with characters that are not valid in a header")
    return value
