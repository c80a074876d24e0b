"""Errors of an S3 store, translated into errors that name the cause and the remedy.

No text of the server or of a library enters a message: it may contain URLs, keys and signatures.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError, ProxyError

from ssd_core.errors import SsdError, TransientError, UsageError
from ssd_core.store.s3.answers import CODE_OF_STATUS, DamagedAnswerError, ForeignAnswerError
from ssd_core.store.s3.settings import S3Settings
from ssd_core.store.s3.transport import PROXY_LOGIN, describe, lasting_cause

ANSWERS = (S3Error, ServerError, InvalidResponseError)
"""Exceptions of the client for a response that is not a success."""
_STORE_FAILED = "the store failed; repeat the command later"
_REFUSED = {
    "InvalidAccessKeyId XAdminUserNotFound": "the store does not know the access key; "
    "check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the keys are wrong; check AWS_SECRET_ACCESS_KEY, AWS_ACCESS_KEY_ID",
    "InvalidToken": "the session token is invalid; renew or remove AWS_SESSION_TOKEN",
    "AccountProblem AllAccessDisabled": "the account is closed",
    "RequestTimeTooSkewed RequestExpired RequestNotYetValid": "the clocks of this machine and of "
    "the store differ; set the clock",
    "AuthorizationHeaderMalformed IllegalLocationConstraintException PermanentRedirect Redirect "
    "TemporaryRedirect": "the bucket is in another region; set AWS_REGION",
    "InvalidBucketName": "the bucket name is invalid; expected s3://bucket/prefix",
    "ProxyAuthenticationRequired": PROXY_LOGIN,
    "KeyTooLongError": "the key is too long for the store; choose a shorter URI",
    "ObjectParentIsFile ObjectExistsAsDirectory": "the store cannot hold an object and a directory "
    "of the same name; choose another URI",
}
"""Error codes that a rerun does not change."""
_FAILED = {
    "EntityTooLarge InsufficientStorage QuotaExceeded QuotaExceededException StorageFull "
    "XMinioStorageFull": "the store is full or the quota is used up; free some space, then repeat "
    "the command",
    "RequestLimitExceeded SlowDown Throttling ThrottlingException TooManyRequests": "the store "
    "throttles; repeat the command later, or with fewer in parallel",
    "ExpiredToken TokenRefreshRequired": "the session token has expired; renew AWS_SESSION_TOKEN, "
    "then repeat the command",
    "InternalError NoSuchUpload ServiceUnavailable": _STORE_FAILED,
}
"""Error codes for which a rerun may succeed."""
_EXPLANATIONS = {
    code: (kind, text)
    for kind, table in ((UsageError, _REFUSED), (TransientError, _FAILED))
    for codes, text in table.items()
    for code in codes.split()
}
_DENIED = {"AccessDenied", "AccountAccessDenied", "InvalidSecurity"}


def error_code(error: Exception) -> str:
    """Return the code of a client error, such as `NoSuchKey`, or "" if it has none."""
    code = str(error.code or "") if isinstance(error, S3Error) else ""
    return code or CODE_OF_STATUS.get(status_of(error), "")


def status_of(error: Exception) -> int:
    """Return the HTTP status of a client error, or 0 if it has none."""
    if isinstance(error, S3Error):
        return int(getattr(error.response, "status", 0))
    return int(getattr(error, "_code", 0) or getattr(error, "status_code", 0))


@contextmanager
def explain_store_errors(uri: str, settings: S3Settings) -> Iterator[None]:
    """Translate errors of the client during an operation on `uri`.

    Raises:
        FileNotFoundError: the object does not exist.
        UsageError: credentials, clock, bucket or region are wrong, or the server is not S3.
        TransientError: the store is unreachable, full, or throttles.
    """
    try:
        yield
    except ANSWERS as error:
        raise _explain_answer(error, uri, settings) from None
    except HTTPError as error:
        raise _explain_failure(error, uri, settings) from None
    except ValueError:  # from the client or http.client, whose texts repeat headers
        raise UsageError(
            f"{uri}: no request can be made from this URI and these settings; check the names in "
            "the URI and the AWS_ variables"
        ) from None


def _explain_answer(error: Exception, uri: str, settings: S3Settings) -> Exception:
    code, status = error_code(error), status_of(error)
    if code in {"NoSuchKey", "NoSuchVersion"}:
        return FileNotFoundError(uri)
    if code == "NoSuchBucket":
        return UsageError(
            f"{uri}: the bucket does not exist at {settings.endpoint}; create it, or correct the "
            "name or AWS_ENDPOINT_URL"
        )
    if code in _DENIED:
        return UsageError(f"{uri}: access denied; {_permission(settings)} ({code})")
    if code in _EXPLANATIONS or status >= 500:
        kind, text = _EXPLANATIONS.get(code, (TransientError, _STORE_FAILED))
        return kind(f"{uri}: {text} ({code or f'status {status}'})")
    if isinstance(error, S3Error):
        shown = re.sub(r"\W", "", code)[:60] or f"status {status}"
        return UsageError(f"{uri}: the store refuses the request ({shown})")
    return _not_a_store(uri, settings)


def _permission(settings: S3Settings) -> str:
    if settings.access_key is None and not settings.provider:
        return "no credentials are given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    given = settings.provider or "access key"
    return f"the {given} needs permission to list, read and write there"


def _explain_failure(error: HTTPError, uri: str, settings: S3Settings) -> SsdError:
    endpoint, budget = settings.endpoint, f"{settings.retry_policy.budget_seconds:g} s"
    if isinstance(error, ForeignAnswerError):
        return _not_a_store(uri, settings)
    if isinstance(error, DamagedAnswerError):
        return TransientError(
            f"{uri}: the answers of {endpoint} are damaged; check the network and its proxies, "
            "then repeat the command"
        )
    cause = lasting_cause(error)
    if isinstance(error, ProxyError) and cause != PROXY_LOGIN:
        return TransientError(f"{uri}: the proxy fails; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY")
    if cause is not None:
        return UsageError(f"{uri}: {cause.format(endpoint=endpoint)}")
    return TransientError(
        f"{uri}: no answer from {endpoint} for {budget}: {describe(error)}; check the network and "
        "AWS_ENDPOINT_URL, then repeat the command"
    )


def _not_a_store(uri: str, settings: S3Settings) -> UsageError:
    remedy = "check AWS_ENDPOINT_URL"
    if settings.access_key is None:  # Swift answers an unsigned request with its own protocol
        remedy += ", or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return UsageError(f"{uri}: {settings.endpoint} answers, but not as an S3 store; {remedy}")
