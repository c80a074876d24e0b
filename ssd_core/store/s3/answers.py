"""Checks of the responses of an S3 store, and which of them a retry may change."""

from xml.etree import ElementTree

from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

CODE_OF_STATUS = {
    401: "AccessDenied",
    403: "AccessDenied",
    407: "ProxyAuthenticationRequired",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
    429: "SlowDown",
    501: "NotImplemented",
    507: "StorageFull",
}
"""Statuses that need no body, and their codes."""
SUCCESS = {200, 204, 206}
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_CODES = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
"""Errors with another status, or inside a 200 response that completes an upload."""


class DamagedAnswerError(ProtocolError):
    """A response of a store that was changed or cut on its way."""


class ForeignAnswerError(HTTPError):
    """A response that no S3 store gives, for example the page of a web server."""


def is_transient_failure(method: str, response: BaseHTTPResponse) -> bool:
    """Return whether the store failed but may succeed later; reads the body.

    Raises:
        DamagedAnswerError: the body should be XML but is not.
        ForeignAnswerError: the body should be XML, but the server does not claim that it is.
    """
    return response.status in _TRANSIENT_STATUS or _error_code(method, response) in _TRANSIENT_CODES


def _error_code(method: str, response: BaseHTTPResponse) -> str:
    """Return the code of the error in the body, "" without one."""
    is_xml = "xml" in response.headers.get("Content-Type", "")
    if not response.data and (method == "HEAD" or _may_be_empty(method, response.status)):
        return ""
    if not is_xml and (response.status in CODE_OF_STATUS or response.status >= 500):
        return ""  # a page of a proxy
    try:
        root = ElementTree.fromstring(response.data.decode())  # as the client reads it
    except (ElementTree.ParseError, UnicodeDecodeError):
        raise (DamagedAnswerError if is_xml else ForeignAnswerError)("no XML") from None
    kind = root.tag.rpartition("}")[2]
    if kind == "html":
        raise ForeignAnswerError("a page")
    return (root.findtext("{*}Code") or "") if kind == "Error" else ""


def _may_be_empty(method: str, status: int) -> bool:
    return method not in {"GET", "POST"} if status in SUCCESS else status in CODE_OF_STATUS
