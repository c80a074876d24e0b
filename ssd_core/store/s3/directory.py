"""Directories in an S3 bucket.

Every object is written with its SHA-256 as user metadata, and `get` of a whole object checks it.
What is written elsewhere has none, and what is read in part cannot be checked by it: who knows the
hash, from a manifest, compares it himself, as the cache does.
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

from ssd_core.errors import SurroundingsError
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import file_sha256
from ssd_core.store.location import (
    PARTIAL_PREFIX,
    Location,
    StoredObject,
    check_key,
    read_verified_content,
)
from ssd_core.store.s3.connection import S3Connection, connect
from ssd_core.store.s3.download import read_body
from ssd_core.store.s3.errors import ANSWERS, error_code, explain_store_errors, status_of
from ssd_core.store.s3.settings import S3Settings, read_settings, split_uri
from ssd_core.store.s3.transport import Tries

_SHA256 = "x-amz-meta-sha256"
_WRITER = "x-amz-meta-writer"
"""Names the one call of `put_if_absent` that made the object."""
_PART_BYTES = 2**24
_MOST_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """The parts of a large object whose writer has not finished, or was killed."""

    key: str
    upload_id: str
    num_bytes: int
    """Of the parts that are there."""
    changed: float
    """When the last part came, or the upload began: seconds since 1970, by the store's clock."""


class S3Directory(Location):
    """The objects of a bucket below a prefix; may be shared by threads and sent to processes."""

    def __init__(self, bucket: str, prefix: str = "", settings: S3Settings | None = None) -> None:
        """Connect to nothing yet.

        Args:
            bucket: its name.
            prefix: common prefix of the keys, with or without a trailing slash.
            settings: endpoint and credentials; None reads the environment at the first request.
        """
        prefix = prefix.strip("/")
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._settings = settings

    @classmethod
    def parse(cls, uri: str) -> "S3Directory":
        """Return the directory that `s3://bucket/prefix` names.

        Raises:
            UsageError: not a bucket name, or credentials in the URI.
        """
        return cls(*split_uri(uri))

    @property
    def uri(self) -> str:
        """`s3://bucket/prefix` without a trailing slash."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def local(self) -> None:
        """None."""
        return None

    @property
    def name(self) -> str:
        """The last part of the prefix."""
        return self._prefix.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "S3Directory":
        """The directory that contains this one; the bucket contains itself."""
        above = self._prefix.rstrip("/").rpartition("/")[0]
        return S3Directory(self._bucket, above, self._settings)

    def __truediv__(self, name: str) -> "S3Directory":
        """Return the directory `name` below this one."""
        return S3Directory(self._bucket, f"{self._prefix}{name}", self._settings)

    def __str__(self) -> str:
        return self.uri

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the connections behind on the way to another process."""
        return S3Directory, (self._bucket, self._prefix, self._settings)

    @cached_property
    def _connection(self) -> S3Connection:
        return connect(self._settings or read_settings(), os.getpid())

    @property
    def _client(self) -> minio.Minio:
        return self._connection.client

    def put(self, key: str, content: bytes | Path) -> None:
        """Store bytes or a file under `key`, replacing what is there."""
        name = self._name(key)
        if isinstance(content, Path):
            file = KnownFile(
                name=key, num_bytes=content.stat().st_size, sha256=file_sha256(content)
            )
        else:
            file = KnownFile.of(key, content)
        part_bytes = max(_PART_BYTES, -(-file.num_bytes // _MOST_PARTS))
        with self._verb(key):
            # An upload that is gone may be complete: its answer was lost, and the repetition late.
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
                raise SurroundingsError(
                    f"{self.uri}/{key}: the store lost the upload; repeat the command"
                )

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Store `content` unless `key` exists; say whether it was stored.

        One of many racing writers wins where the store checks `If-None-Match` and writes in one
        step. Not all do, and no probe can tell; so the writer waits and looks whether his object
        is still there (Fischer's algorithm). That leaves one winner on every store, as long as no
        writer takes longer from the look to the write than `settle_seconds`. In any case readers
        see one whole object.
        """
        name = self._name(key)
        writer = uuid.uuid4().hex
        with self._verb(key) as tries:
            if self._stat(name) is not None:
                return False
            is_refused = not self._put_conditionally(name, content, writer)
            # Where an answer was lost, the repetition is refused because of ourselves.
            if is_refused and self._writer(name) != writer:
                return False
            time.sleep(self._connection.settings.patience.settle_seconds)
            if self._writer(name) != writer:
                return False
            # A store that ignores conditions may join the name of one writer to another's content.
            if self._read(name, 0, None, tries)[0] != content:
                self._put_conditionally(name, content, writer)
            return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object, or `length` bytes of it from `start`."""
        name = self._name(key)
        if length == 0:
            if self.head(key) is None:
                raise FileNotFoundError(f"{self.uri}/{key}")
            return b""
        with self._verb(key) as tries:
            if start or length:
                return self._read(name, start, length, tries)[0]

            def read_whole() -> tuple[bytes, str, str | None]:
                content, expected = self._read(name, 0, None, tries)
                return content, hashlib.sha256(content).hexdigest(), expected

            return read_verified_content(f"{self.uri}/{key}", read_whole)

    def head(self, key: str) -> StoredObject | None:
        """Return what a listing would say of `key`, or None where it does not exist."""
        name = self._name(key)
        with self._verb(key):
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
        listing = self._client.list_objects(
            self._bucket, prefix=f"{self._prefix}{prefix}", recursive=True
        )
        while True:
            with self._verb(prefix):  # not around the yield: the caller may use other verbs there
                found = next(listing, None)
            if found is None:
                return
            key = str(found.object_name).removeprefix(self._prefix)
            name = key.rpartition("/")[2]
            if name and not name.startswith(PARTIAL_PREFIX):  # no name: the marker of a folder
                changed = _seconds(found.last_modified)
                yield StoredObject(key, int(found.size), str(found.etag), changed=changed)

    def delete(self, key: str) -> None:
        """Remove the object; no error where it does not exist."""
        name = self._name(key)
        with self._verb(key):
            self._client.remove_object(self._bucket, name)

    def unfinished_uploads(self) -> Iterator[UnfinishedUpload]:
        """Yield the uploads in parts that nobody has completed.

        They take space, and no listing shows them. A young one may belong to a writer at work. A
        store that cannot list them shows none.
        """
        query = {"uploads": "", "prefix": self._prefix, "encoding-type": "url"}
        while True:
            page = None
            # rclone knows no upload where there has never been one.
            with self._verb(""), _ignoring("NoSuchUpload", "NotImplemented"):
                # The client's own method sends an empty delimiter, for which Swift shows nothing.
                answer = self._client._execute("GET", self._bucket, query_params=dict(query))
                page = ListMultipartUploadsResult(answer)
            for found in page.uploads if page else ():
                upload = self._describe_upload(found)
                if upload is not None:
                    yield upload
            if page is None or not page.is_truncated:
                return
            query["key-marker"] = page.next_key_marker
            query["upload-id-marker"] = page.next_upload_id_marker

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Remove the parts of an upload; no error where it is gone."""
        name = self._name(upload.key)
        with self._verb(upload.key), _ignoring("NoSuchUpload"):
            self._client._abort_multipart_upload(self._bucket, name, upload.upload_id)

    def _describe_upload(self, found: Any) -> UnfinishedUpload | None:
        """Return what there is of an upload; None where it has just ended."""
        name, marker = str(found.object_name), None
        key = name.removeprefix(self._prefix)
        num_bytes, changed = 0, _seconds(found.initiated_time)
        upload = None
        with self._verb(key), _ignoring("NoSuchUpload"):
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
    def _verb(self, key: str) -> Iterator[Tries]:
        with (
            explain_store_errors(f"{self.uri}/{key}", self._connection.settings),
            self._connection.pool.verb() as tries,
        ):
            yield tries

    def _read(
        self, name: str, start: int, length: int | None, tries: Tries
    ) -> tuple[bytes, str | None]:
        """Return content, and the SHA-256 that it was stored with."""

        def open_at(offset: int) -> BaseHTTPResponse:
            rest = 0 if length is None else length - offset
            response: BaseHTTPResponse = self._client.get_object(
                self._bucket, name, offset=start + offset, length=rest
            )
            return response

        try:
            content, headers = read_body(open_at, tries, f"s3://{self._bucket}/{name}")
        except ANSWERS as error:
            if error_code(error) != "InvalidRange":
                raise
            return b"", None  # it ends before `start`
        return content, headers.get(_SHA256)

    def _stat(self, name: str) -> Any:
        """Return what the client says of an object, or None where it does not exist."""
        try:
            return self._client.stat_object(self._bucket, name)
        except ANSWERS as error:
            if not 400 <= status_of(error) < 500:
                raise
        try:  # The answer to HEAD has no body: only one to GET tells what is missing or refused.
            self._client.get_object(self._bucket, name, length=1).close()
        except ANSWERS as error:
            if error_code(error) == "NoSuchKey":
                return None
            raise
        return self._client.stat_object(self._bucket, name)

    def _writer(self, name: str) -> str | None:
        found = self._stat(name)
        return None if found is None else found.metadata.get(_WRITER)

    def _put_conditionally(self, name: str, content: bytes, writer: str) -> bool:
        """Store an object, if the store agrees that there is none; say whether it did."""
        headers = {
            "Content-Type": "application/octet-stream",
            "If-None-Match": "*",
            _SHA256: hashlib.sha256(content).hexdigest(),
            _WRITER: writer,
        }
        # The public methods of the client carry no such condition.
        put = partial(self._client._execute, "PUT", self._bucket, name, body=content)
        try:
            put(headers=dict(headers))
        except ANSWERS as error:
            code = error_code(error)
            if code == "NotImplemented":  # then the condition itself is refused
                del headers["If-None-Match"]
                put(headers=headers)
            elif code != "PreconditionFailed":
                raise
            return code == "NotImplemented"
        return True


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    """Go on where the store answers with one of these codes."""
    try:
        yield
    except ANSWERS as error:
        if error_code(error) not in codes:
            raise


def _seconds(moment: datetime | None) -> float:
    """Return seconds since 1970; of a store that does not say when, the latest there can be."""
    return moment.timestamp() if moment else float("inf")


def _open_content(content: bytes | Path) -> Any:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)
