"""Directories in an S3 bucket.

Every object is written with its SHA-256 as user metadata, and `get` of a whole object verifies it.
Objects of other programs have none, and a range cannot be verified by it: callers that know the
hash from a manifest compare it themselves, as the cache does.
"""

import hashlib
import io
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import minio
from minio.datatypes import ListMultipartUploadsResult
from urllib3.response import BaseHTTPResponse

from ssd_core.errors import TransientError, UsageError
from ssd_core.store.known_file import KnownFile
from ssd_core.store.location import (
    PARTIAL_PREFIX,
    Location,
    StoredObject,
    check_key,
    read_verified_content,
)
from ssd_core.store.s3.download import read_body
from ssd_core.store.s3.errors import ANSWERS, error_code, explain_store_errors, status_of
from ssd_core.store.s3.settings import S3Settings, read_settings
from ssd_core.store.s3.transport import RetryBudget, S3Connection, connect

_SHA256 = "x-amz-meta-sha256"
_WRITER = "x-amz-meta-writer"
"""Identifies the call of `put_if_absent` that created the object."""
_PART_BYTES = 2**24
_MOST_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """The parts of a large object whose writer is not finished, or was killed."""

    key: str
    upload_id: str
    num_bytes: int
    """Of the parts uploaded so far."""
    changed: float
    """Time of the last part, or of the start: seconds since 1970, by the clock of the store."""


class S3Directory(Location):
    """A prefix in a bucket; threads may share it, and it can be pickled."""

    def __init__(self, bucket: str, prefix: str = "", settings: S3Settings | None = None) -> None:
        """Store the arguments; the first request connects, with `settings` or the environment."""
        prefix = prefix.strip("/")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._settings = settings

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix` without a trailing slash."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def local(self) -> None:
        """None."""
        return None

    def __truediv__(self, name: str) -> "S3Directory":
        """Return the directory `name` below this one."""
        return S3Directory(self._bucket, f"{self._prefix}{name}", self._settings)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle everything but the connection."""
        return S3Directory, (self._bucket, self._prefix, self._settings)

    @cached_property
    def _connection(self) -> S3Connection:
        return connect(self._settings or read_settings(), os.getpid())

    @property
    def _client(self) -> minio.Minio:
        return self._connection.client

    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a local file under `key`; replace an existing object."""
        name = self._name(key)
        file = KnownFile.of(key, content)
        part_bytes = max(_PART_BYTES, -(-file.num_bytes // _MOST_PARTS))
        with self._operation(key):
            # A retry after a lost response: the upload no longer exists because it is complete.
            with _open_content(content) as stream, _ignoring("NoSuchUpload"):
                self._client.put_object(
                    self._bucket,
                    name,
                    stream,
                    file.num_bytes,
                    metadata={_SHA256: file.sha256},
                    part_size=part_bytes,
                    # One at a time: all requests then share the budget of this thread.
                    num_parallel_uploads=1,
                )
            if file.num_bytes > part_bytes and not file.is_in(self):
                raise TransientError(
                    f"{self.uri}/{key}: the store lost the upload; repeat the command"
                )

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` exists, and return whether it was stored.

        One of many concurrent writers wins where the store checks `If-None-Match` and writes
        atomically. Not all stores do, and no probe can detect it. So the writer waits and then
        checks whether its object is still there (Fischer's algorithm). That leaves one winner on
        every store, as long as no writer takes longer from check to write than `settle_seconds`.
        In any case readers see one whole object.
        """
        name = self._name(key)
        writer = uuid.uuid4().hex
        with self._operation(key) as budget:
            if self._stat(name) is not None:
                return False
            is_stored = self._put_conditionally(name, content, writer)
            # After a lost response, the retry is refused because of our own object.
            if not is_stored and self._writer(name) != writer:
                return False
            time.sleep(self._connection.settings.retry_policy.settle_seconds)
            found = self._stat(name)
            if is_stored and found is not None and _WRITER not in found.metadata:
                raise UsageError(
                    f"{self.uri}/{key}: the store keeps no user metadata (x-amz-meta-*), by which "
                    "writers find out which of them was first; choose a store that does"
                )
            if found is None or found.metadata.get(_WRITER) != writer:
                return False
            # A store that ignores conditions may mix one writer's metadata with another's content.
            if self._read(name, 0, None, budget)[0] != content:
                self._put_conditionally(name, content, writer)
            return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object, or at most `length` bytes of it from `start`."""
        name = self._name(key)
        if length == 0:  # not expressible as a range
            if self.head(key) is None:
                raise FileNotFoundError(f"{self.uri}/{key}")
            return b""
        with self._operation(key) as budget:
            if start or length:
                return self._read(name, start, length, budget)[0]

            def read_whole() -> tuple[bytes, str, str | None]:
                content, expected = self._read(name, 0, None, budget)
                return content, hashlib.sha256(content).hexdigest(), expected

            return read_verified_content(f"{self.uri}/{key}", read_whole)

    def head(self, key: str) -> StoredObject | None:
        """Return the listing entry of `key`, or None if it does not exist."""
        name = self._name(key)
        with self._operation(key):
            found = self._stat(name)
        if found is None:
            return None
        return StoredObject(
            key,
            found.size,
            str(found.etag),
            changed=_seconds(found.last_modified),
            sha256=found.metadata.get(_SHA256) or "",
        )

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with `prefix`, sorted by key."""
        with self._operation(prefix):
            listing = self._client.list_objects(
                self._bucket, prefix=f"{self._prefix}{prefix}", recursive=True
            )
        first = None
        while True:
            with self._operation(prefix):  # not around the yield: the caller may use the store
                found = next(listing, None)
            if found is None:
                return
            if found.object_name == first:
                raise TransientError(f"{self}: the store repeats its listing without an end")
            first = first or found.object_name
            key = str(found.object_name).removeprefix(self._prefix)
            is_marker = not key.rpartition("/")[2]  # of a directory, without a name
            if not is_marker and f"/{PARTIAL_PREFIX}" not in f"/{key}":
                changed = _seconds(found.last_modified)
                yield StoredObject(key, int(found.size), str(found.etag), changed=changed)

    def delete(self, key: str) -> None:
        """Remove the object if it exists."""
        name = self._name(key)
        with self._operation(key):
            self._client.remove_object(self._bucket, name)

    def unfinished_uploads(self) -> Iterator[UnfinishedUpload]:
        """Yield the multipart uploads that are not complete; recent ones may still be running.

        They take space, but no listing shows them. Not every store can list them.
        """
        query = {"uploads": "", "prefix": self._prefix, "encoding-type": "url"}
        while True:
            page = None
            # rclone answers NoSuchUpload if there has never been one.
            with self._operation(""), _ignoring("NoSuchUpload", "NotImplemented"):
                # The client's own method sends an empty delimiter, for which Swift lists nothing.
                answer = self._client._execute("GET", self._bucket, query_params=dict(query))
                page = ListMultipartUploadsResult(answer)
            for found in page.uploads if page else ():
                upload = self._describe_upload(found)
                if upload is not None:
                    yield upload
            if page is None or not page.is_truncated:
                return
            # Without a marker of the upload, which the client loses and versitygw refuses: of a key
            # on two pages, the uploads on the second one are left for the next call.
            if page.next_key_marker == query.get("key-marker"):
                raise TransientError(f"{self}: the store repeats its listing without an end")
            query["key-marker"] = page.next_key_marker

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload if it exists."""
        name = self._name(upload.key)
        with self._operation(upload.key), _ignoring("NoSuchUpload"):
            self._client._abort_multipart_upload(self._bucket, name, upload.upload_id)

    def _describe_upload(self, found: Any) -> UnfinishedUpload | None:
        """Return the state of an upload, or None if it has just ended."""
        name, marker = str(found.object_name), None
        key = name.removeprefix(self._prefix)
        num_bytes, changed = 0, _seconds(found.initiated_time)
        upload = None
        with self._operation(key), _ignoring("NoSuchUpload"):
            while True:
                page = self._client._list_parts(
                    self._bucket, name, found.upload_id, part_number_marker=marker
                )
                num_bytes += sum(part.size or 0 for part in page.parts)
                changed = max([changed, *(_seconds(part.last_modified) for part in page.parts)])
                marker = page.next_part_number_marker
                if not page.is_truncated:
                    upload = UnfinishedUpload(key, found.upload_id, num_bytes, changed)
                    break
        return upload

    def _name(self, key: str) -> str:
        check_key(key, self)
        return f"{self._prefix}{key}"

    @contextmanager
    def _operation(self, key: str) -> Iterator[RetryBudget]:
        with (
            explain_store_errors(f"{self.uri}/{key}", self._connection.settings),
            self._connection.pool.operation() as budget,
        ):
            yield budget

    def _read(
        self, name: str, start: int, length: int | None, budget: RetryBudget
    ) -> tuple[bytes, str | None]:
        """Return the content, and the SHA-256 that was stored with it."""

        def open_at(offset: int) -> BaseHTTPResponse:
            rest = 0 if length is None else length - offset
            response: BaseHTTPResponse = self._client.get_object(
                self._bucket, name, offset=start + offset, length=rest
            )
            return response

        try:
            content, headers = read_body(open_at, budget, f"s3://{self._bucket}/{name}")
        except ANSWERS as error:
            if error_code(error) != "InvalidRange":
                raise
            return b"", None  # the object ends before `start`
        return content, headers.get(_SHA256)

    def _stat(self, name: str) -> Any:
        """Return the client's description of an object, or None if it does not exist."""
        try:
            return self._client.stat_object(self._bucket, name)
        except ANSWERS as error:
            if not 400 <= status_of(error) < 500:
                raise
        try:  # A response to HEAD has no body: only GET returns the code of the error.
            self._client.get_object(self._bucket, name, length=1).close()
        except ANSWERS as error:
            code = error_code(error)
            if code == "NoSuchKey":
                return None
            if code != "InvalidRange":  # an empty object has no first byte
                raise
        return self._client.stat_object(self._bucket, name)

    def _writer(self, name: str) -> str | None:
        found = self._stat(name)
        return None if found is None else found.metadata.get(_WRITER)

    def _put_conditionally(self, name: str, content: bytes, writer: str) -> bool:
        """Store an object unless the store finds one; return whether it was stored."""
        headers = {
            "Content-Type": "application/octet-stream",
            "If-None-Match": "*",
            _SHA256: hashlib.sha256(content).hexdigest(),
            _WRITER: writer,
        }
        # The public methods of the client have no such condition.
        put = partial(self._client._execute, "PUT", self._bucket, name, body=content)
        try:
            put(headers=dict(headers))
        except ANSWERS as error:
            code = error_code(error)
            if code == "PreconditionFailed":
                return False
            if code != "NotImplemented":
                raise
            del headers["If-None-Match"]  # the store refuses the condition itself
            put(headers=headers)
        return True


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    """Suppress errors of the store with these codes."""
    try:
        yield
    except ANSWERS as error:
        if error_code(error) not in codes:
            raise


def _seconds(moment: datetime | None) -> float:
    """Return seconds since 1970; infinity if the store does not return the time."""
    return moment.timestamp() if moment else float("inf")


def _open_content(content: bytes | Path) -> Any:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
