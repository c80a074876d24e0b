"""Object stores behind one narrow protocol; `open_store` picks the one that a URI names."""

from pathlib import Path
from urllib.parse import unquote

from ssd_core.errors import UsageError
from ssd_core.store.base import Store
from ssd_core.store.local import LocalStore

Location = Path | str
"""Of a directory: a local path, or the URI of a store."""


def read_location(text: str) -> Location:
    """Return the place that a user names: a path, `file://`, or `s3://bucket/prefix`.

    Raises:
        UsageError: another scheme, or no bucket.
    """
    if not text.startswith("s3://"):
        return local_path(text, expected="a path, file:// or s3://bucket/prefix")
    from ssd_core.store.s3_settings import split_uri

    split_uri(text)
    return text.rstrip("/")


def location_uri(location: Location) -> str:
    """Return what finds the place again from anywhere: an absolute path, or the URI."""
    return str(location.resolve()) if isinstance(location, Path) else location


def join_location(location: Location, *names: str) -> Location:
    """Return the place of these names below a location."""
    if isinstance(location, Path):
        return location.joinpath(*names)
    return "/".join((location.rstrip("/"), *names))


def open_store(uri: Location) -> Store:
    """Return the store at `uri`: a path, `file://`, or `s3://bucket/prefix`.

    Credentials and endpoint of an S3 store come from the `AWS_*` variables, see `s3_settings.py`.

    Raises:
        UsageError: a scheme that no store speaks, no bucket, or settings that cannot be used.
    """
    location = read_location(uri) if isinstance(uri, str) else uri
    if isinstance(location, Path):
        return LocalStore(location)
    from ssd_core.store.s3 import S3Store
    from ssd_core.store.s3_settings import read_settings, split_uri

    return S3Store(*split_uri(location), read_settings())


def local_path(text: str, *, expected: str = "a path or file://") -> Path:
    """Return the path that a plain path or a `file://` URI names.

    Raises:
        UsageError: it is empty, has another scheme, or names another machine.
    """
    if not text:
        raise UsageError(f"the name of a place is empty; expected {expected}")
    scheme, is_uri, rest = text.partition("://")
    if not is_uri:
        return Path(text)
    if scheme != "file":
        raise UsageError(f"'{scheme}://…' cannot be used here; expected {expected}")
    host, _, path = rest.partition("/")
    if host not in {"", "localhost"} or not path:
        raise UsageError(f"'{text}' names no place on this machine; expected file:///path")
    return Path("/", unquote(path))
