"""One connection to a server of Kubeflow Pipelines, and the error for each kind of failure.

It uses `kfp_server_api`, the generated client below `kfp.Client`: see decision 9.
"""

import json
from collections.abc import Callable
from typing import Any, NoReturn

import kfp_server_api
import urllib3
from kfp_server_api.exceptions import ApiException

from pipelines.cluster.settings import ServerSettings
from ssd_core.errors import SsdError, TransientError, UsageError

_CONNECT_SECONDS = 10.0
_SHOWN_CHARACTERS = 300
"""Of a message of the server, which repeats itself."""
_RETRYABLE = {408, 425, 429}
"""Status codes that are worth a retry, besides all from 500 on."""


class Connection:
    """Calls the generated client, and raises errors that the user can act on."""

    def __init__(self, settings: ServerSettings) -> None:
        self.endpoint = settings.read_endpoint()
        self._settings = settings
        configuration = kfp_server_api.Configuration(host=self.endpoint)
        # No retries: a repeated POST would submit twice. A redirect leads to a login page.
        configuration.retries = urllib3.Retry(0, raise_on_redirect=False)
        if settings.ca_cert:
            settings.check_ca_cert()
            configuration.ssl_ca_cert = str(settings.ca_cert)
        if token := settings.read_token():
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = _refresh_token(settings)
        self.api = kfp_server_api.ApiClient(configuration, cookie=settings.read_cookies())

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the generated client, whose API object was made with `self.api`.

        Raises:
            UsageError: the credentials, the request or the address is wrong.
            TransientError: the server is unreachable, slow or broken; a retry may succeed.
        """
        answer = self._send(method, *arguments, **options)
        if "json" not in (self.api.last_response.getheader("content-type") or ""):
            raise self._wrong_address("something else than JSON")
        return answer

    def read(self, path: str, **names: str) -> str:
        """Return the text at a path that the generated client lacks; raises as `call` does."""
        self._send(self.api.call_api, path, "GET", path_params=names, auth_settings=["Bearer"])
        return str(self.api.last_response.data)

    def _send(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        timeout = (_CONNECT_SECONDS, self._settings.timeout)
        try:
            return method(*arguments, **options, _request_timeout=timeout)
        except ApiException as error:
            raise self._explain(error.status, error.body) from None
        except urllib3.exceptions.HTTPError as error:
            self._raise_unreachable(error)
        except ValueError as error:  # from decoding the answer, also that of an ApiException
            if isinstance(failure := error.__context__, ApiException):
                raise self._explain(failure.status, None) from None
            raise self._wrong_address(f"an answer that cannot be read ({error})") from None

    def _explain(self, status: int, body: str | None) -> SsdError:
        message = _read_message(body)
        quoted = f": {message[:_SHOWN_CHARACTERS]}" if message else ""
        if 300 <= status < 400 or status == 401:
            return UsageError(
                f"{self.endpoint}: not logged in ({status}); give --token-file, --token or "
                f"--cookies of a valid session{quoted}"
            )
        if status == 403:
            namespace = self._settings.namespace
            where = f"the namespace '{namespace}'" if namespace else "this server"
            return UsageError(
                f"{self.endpoint}: not allowed in {where} (403); choose another --namespace or "
                f"request edit rights there{quoted}"
            )
        if status >= 500 or status in _RETRYABLE:
            return TransientError(f"{self.endpoint}: returned {status}, try later{quoted}")
        if status == 404 and message is None:
            return self._wrong_address("404")
        return UsageError(f"{self.endpoint}: refused ({status}){quoted}")

    def _wrong_address(self, answer: str) -> UsageError:
        return UsageError(
            f"{self.endpoint} returned {answer}; expected the address of Kubeflow Pipelines, for "
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
            why = f"no answer within {self._settings.timeout:g} s; --timeout raises the limit"
        else:
            # urllib3 puts the address of a Python object before the cause.
            cause = str(reason).rpartition("): ")[2].rpartition("] ")[2]
            why = f"cannot be reached ({cause}); is the address right, is it running?"
        raise TransientError(f"{self.endpoint}: {why}") from None


def _refresh_token(settings: ServerSettings) -> Callable[[Any], None]:
    def refresh(configuration: Any) -> None:
        configuration.api_key["authorization"] = settings.read_token()

    return refresh


def _read_message(body: str | None) -> str | None:
    """Return the message in an error of Kubeflow Pipelines, None in that of another server."""
    try:
        content = json.loads(body or "")
    except ValueError:
        return None
    found = content.get("message") or content.get("error") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None
