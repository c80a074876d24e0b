"""One connection to a server of Kubeflow Pipelines, and what each failure means to the user.

`kfp_server_api`, the generated client below `kfp.Client`, speaks: see decision 9.
"""

import json
from collections.abc import Callable
from typing import Any, NoReturn

import kfp_server_api
import urllib3
from kfp_server_api.exceptions import ApiException

from pipelines.server_settings import ServerSettings
from ssd_core.errors import SsdError, SurroundingsError, UsageError

_CONNECT_SECONDS = 10.0
_SHOWN_SIGNS = 300
"""Of what the server says; its messages repeat themselves."""
_PASSING = {408, 425, 429}
"""Refusals that may be gone later, beside all from 500 on."""


class Connection:
    """Calls the generated client, and raises what the user can act on."""

    def __init__(self, settings: ServerSettings) -> None:
        self.endpoint = settings.read_endpoint()
        self._settings = settings
        configuration = kfp_server_api.Configuration(host=self.endpoint)
        # None is repeated: a repeated POST would submit twice. A redirection leads to a login page.
        configuration.retries = urllib3.Retry(0, raise_on_redirect=False)
        if settings.ca_cert:
            settings.check_ca_cert()
            configuration.ssl_ca_cert = str(settings.ca_cert)
        if token := settings.read_token():
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = _refresh_token(settings)
        self.api = kfp_server_api.ApiClient(configuration, cookie=settings.read_cookies())

    def ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make one call of the generated client, whose API object was made with `self.api`.

        Raises:
            UsageError: who asks, what is asked for, or the address is wrong.
            SurroundingsError: the server is away, slow or broken; later the same may succeed.
        """
        timeout = (_CONNECT_SECONDS, self._settings.timeout)
        try:
            answer = call(*arguments, **options, _request_timeout=timeout)
        except ApiException as error:
            raise self._explain(error.status, error.body) from None
        except urllib3.exceptions.HTTPError as error:
            self._raise_unreachable(error)
        except ValueError as error:  # from decoding the answer, also that of an ApiException
            if isinstance(failure := error.__context__, ApiException):
                raise self._explain(failure.status, None) from None
            raise self._wrong_address(f"an answer that cannot be read ({error})") from None
        if "json" not in (self.api.last_response.getheader("content-type") or ""):
            raise self._wrong_address("something else than JSON")
        return answer

    def _explain(self, status: int, body: str | None) -> SsdError:
        said = _read_message(body)
        if 300 <= status < 400 or status == 401:
            return UsageError(
                f"{self.endpoint}: not logged in ({status}); give --token-file, --token or "
                f"--cookies of a valid session{_quoted(said)}"
            )
        if status == 403:
            asked = self._settings.namespace
            place = f"the namespace '{asked}'" if asked else "this server"
            return UsageError(
                f"{self.endpoint}: not allowed in {place} (403); choose another --namespace or ask "
                f"for the right to edit there{_quoted(said)}"
            )
        if status >= 500 or status in _PASSING:
            return SurroundingsError(
                f"{self.endpoint}: answered {status}, try later{_quoted(said)}"
            )
        if status == 404 and said is None:
            return self._wrong_address("404")
        return UsageError(f"{self.endpoint}: refused ({status}){_quoted(said)}")

    def _wrong_address(self, answer: str) -> UsageError:
        return UsageError(
            f"{self.endpoint} answers {answer}; expected the address of Kubeflow Pipelines, for "
            "example http://localhost:8888 or https://kubeflow.example.com/pipeline"
        )

    def _raise_unreachable(self, error: urllib3.exceptions.HTTPError) -> NoReturn:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, urllib3.exceptions.SSLError):
            raise UsageError(
                f"{self.endpoint}: the certificate is not trusted; name its authority with "
                f"--ca-cert ({reason})"
            ) from None
        if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
            why = f"no answer within {self._settings.timeout:g} s; --timeout waits longer"
        else:
            why = f"cannot be reached ({_last_words(reason)}); is the address right, is it running?"
        raise SurroundingsError(f"{self.endpoint}: {why}") from None


def _refresh_token(settings: ServerSettings) -> Callable[[Any], None]:
    def refresh(configuration: Any) -> None:
        configuration.api_key["authorization"] = settings.read_token()

    return refresh


def _read_message(body: str | None) -> str | None:
    """Return what an error of Kubeflow Pipelines says, None where somebody else answered."""
    try:
        content = json.loads(body or "")
    except ValueError:
        return None
    said = content.get("message") or content.get("error") if isinstance(content, dict) else None
    return said if isinstance(said, str) else None


def _quoted(said: str | None) -> str:
    return f": {said[:_SHOWN_SIGNS]}" if said else ""


def _last_words(reason: BaseException) -> str:
    """Return what an error of urllib3 says, without the address of a Python object before it."""
    return str(reason).rpartition("): ")[2].rpartition("] ")[2]
