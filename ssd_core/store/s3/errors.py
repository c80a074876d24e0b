"""What an S3 store can answer, told apart: whose fault it is, and the remedy.

No text of the server or of a library goes into a message: they hold URLs, keys and signatures.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, LocationValueError, ProxyError

from ssd_core.errors import SsdError, SurroundingsError, UsageError
from ssd_core.store.s3.settings import S3Settings
from ssd_core.store.s3.transport import NO_LOGIN, NO_TLS, NO_TRUST, describe

ANSWERS = (S3Error, ServerError, InvalidResponseError)
"""What the client raises for an answer of a server that is no success."""
_PROXY_LOGIN = "ProxyAuthenticationRequired"
_REFUSED = {
    **dict.fromkeys(
        ("InvalidAccessKeyId", "XAdminUserNotFound"),
        "the store does not know the access key; check AWS_ACCESS_KEY_ID",
    ),
    "SignatureDoesNotMatch": "the keys are wrong; check AWS_SECRET_ACCESS_KEY, AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session token has expired; renew AWS_SESSION_TOKEN",
    "InvalidToken": "the session token is not valid; renew or remove AWS_SESSION_TOKEN",
    **dict.fromkeys(("AccountProblem", "AllAccessDisabled"), "the account is closed"),
    **dict.fromkeys(
        ("RequestTimeTooSkewed", "RequestExpired", "RequestNotYetValid"),
        "the clocks of this machine and of the store differ; set the clock",
    ),
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "PermanentRedirect",
            "Redirect",
            "TemporaryRedirect",
        ),
        "the bucket is in another region; set AWS_REGION",
    ),
    "InvalidBucketName": "no bucket can have this name; expected s3://bucket/prefix",
    _PROXY_LOGIN: "the proxy wants a login; give http://user:password@host:port in HTTPS_PROXY or "
    "HTTP_PROXY",
    "KeyTooLongError": "the key is too long for the store; choose a shorter place",
    **dict.fromkeys(
        ("ObjectParentIsFile", "ObjectExistsAsDirectory"),
        "the store cannot hold an object and a folder of one name; choose another place",
    ),
}
"""Codes for which the user must change something."""
_FAILED = {
    **dict.fromkeys(
        (
            "EntityTooLarge",
            "InsufficientStorage",
            "QuotaExceeded",
            "QuotaExceededException",
            "StorageFull",
            "XMinioStorageFull",
        ),
        "the store is full or the quota is used up; free some space, then repeat the command",
    ),
    **dict.fromkeys(
        (
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
        ),
        "the store throttles; repeat the command later, or with fewer at a time",
    ),
    **dict.fromkeys(
        ("InternalError", "NoSuchUpload", "ServiceUnavailable"),
        "the store failed; repeat the command later",
    ),
}
"""Codes of what may pass by itself."""
_DENIED = {"AccessDenied", "AccountAccessDenied", "InvalidSecurity"}
_CODE_OF_STATUS = {
    401: "AccessDenied",
    403: "AccessDenied",
    407: _PROXY_LOGIN,
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
    429: "SlowDown",
    501: "NotImplemented",
    507: "StorageFull",
}


def error_code(error: Exception) -> str:
    """Return the code of an error of the client, such as `NoSuchKey`; empty where there is none."""
    code = str(error.code or "") if isinstance(error, S3Error) else ""
    return code or _CODE_OF_STATUS.get(status_of(error), "")


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error of the client, 0 where there is none."""
    if isinstance(error, S3Error):
        return int(getattr(error.response, "status", 0))
    return int(getattr(error, "_code", 0) or getattr(error, "status_code", 0))


@contextmanager
def explain_store_errors(place: str, settings: S3Settings) -> Iterator[None]:
    """Turn errors of the client at `place` into errors that say what to do.

    Raises:
        FileNotFoundError: there is no such object.
        UsageError: credentials, clock, bucket, region, or what is no S3 store.
        SurroundingsError: the store is away, full, or throttles.
    """
    try:
        yield
    except ANSWERS as error:
        raise _explain_answer(error, place, settings) from None
    except HTTPError as error:
        raise _explain_silence(error, place, settings) from None
    except (ParseError, UnicodeDecodeError):
        raise _not_a_store(place, settings) from None


def _explain_answer(error: Exception, place: str, settings: S3Settings) -> Exception:
    code, status = error_code(error), status_of(error)
    if code in {"NoSuchKey", "NoSuchVersion"}:
        return FileNotFoundError(place)
    if code == "NoSuchBucket":
        return UsageError(
            f"{place}: there is no such bucket at {settings.endpoint}; create it, or correct the "
            "name or AWS_ENDPOINT_URL"
        )
    if code in _REFUSED:
        return UsageError(f"{place}: {_REFUSED[code]} ({code})")
    if code in _DENIED:
        return UsageError(f"{place}: access denied; {_permission(settings)} ({code})")
    if code in _FAILED or status >= 500:
        text = _FAILED.get(code, _FAILED["InternalError"])
        return SurroundingsError(f"{place}: {text} ({code or f'status {status}'})")
    if isinstance(error, S3Error):
        shown = re.sub(r"\W", "", code)[:60] or f"status {status}"
        return UsageError(f"{place}: the store refuses the request ({shown})")
    return _not_a_store(place, settings)


def _permission(settings: S3Settings) -> str:
    if settings.access_key is None:
        return "no credentials are given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return "the access key needs the right to list, read and write there"


def _explain_silence(error: HTTPError, place: str, settings: S3Settings) -> SsdError:
    host, budget = settings.endpoint, f"{settings.patience.budget_seconds:g} s"
    if isinstance(error, LocationValueError):
        return UsageError(f"{place}: {host} is no address; check AWS_ENDPOINT_URL")
    if NO_LOGIN in str(error):
        return UsageError(f"{place}: {_REFUSED[_PROXY_LOGIN]}")
    if isinstance(error, ProxyError):
        return SurroundingsError(
            f"{place}: the proxy fails; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        )
    if NO_TRUST in str(error):
        return UsageError(
            f"{place}: the certificate of {host} is not trusted; give its authority in "
            "AWS_CA_BUNDLE"
        )
    if NO_TLS in str(error):
        return UsageError(f"{place}: {host} speaks no TLS; expected http:// in AWS_ENDPOINT_URL")
    return SurroundingsError(
        f"{place}: no answer from {host} for {budget}: {describe(error)}; check the network and "
        "AWS_ENDPOINT_URL, then repeat the command"
    )


def _not_a_store(place: str, settings: S3Settings) -> UsageError:
    remedy = "check AWS_ENDPOINT_URL"
    if settings.access_key is None:  # Swift takes a request without a signature for another kind
        remedy += ", or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return UsageError(f"{place}: {settings.endpoint} answers, but not as an S3 store; {remedy}")
