"""Properties of S3 only: anonymous users, pages of a listing, objects of other programs."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ssd_core.errors import TransientError, UsageError
from ssd_core.store.location import StoredObject
from ssd_core.store.s3.directory import S3Directory
from ssd_core.store.s3.settings import S3Settings
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import (
    BUCKET,
    POLICY,
    RACE_SECONDS,
    open_s3,
    own_prefix,
    refusal,
    settings_of,
)
from tests.store.servers import S3Server

PUBLIC = "public-bucket"
ANONYMOUS = {"access_key": None, "secret_key": None}


@pytest.fixture(scope="module")
def public_bucket(versitygw: S3Server) -> str:
    """A bucket that everybody may read and write."""
    client = open_s3(versitygw, "")._client
    client.make_bucket(PUBLIC)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{PUBLIC}", f"arn:aws:s3:::{PUBLIC}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.set_bucket_policy(PUBLIC, json.dumps(policy))
    return PUBLIC


def test_an_anonymous_user(versitygw: S3Server, public_bucket: str) -> None:
    store = S3Directory(public_bucket, own_prefix(), settings_of(versitygw, **ANONYMOUS))
    store.put("key", b"0123456789")
    assert store.get("key", 2, 3) == b"234"
    assert list(store.list()) == [StoredObject("key", 10)]
    text = refusal(lambda: open_s3(versitygw, **ANONYMOUS).get("key"), UsageError)
    assert "no credentials are given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in text


def test_one_of_16_writers_wins_where_conditions_are_ignored(
    versitygw: S3Server, public_bucket: str
) -> None:
    """The proxy removes the condition, which is possible without a signature."""
    all_have_looked = threading.Barrier(16)
    policy = replace(POLICY, idle_seconds=60, settle_seconds=RACE_SECONDS)
    with FaultProxy(versitygw.port) as proxy, ThreadPoolExecutor(16) as pool:
        dropped = proxy.fail(
            "drop_header",
            times=16,
            method="PUT",
            header="if-none-match",
            call=lambda: all_have_looked.wait(60) and None,
        )
        changes = {"endpoint": proxy.endpoint, "retry_policy": policy}
        settings = settings_of(versitygw, **ANONYMOUS, **changes)
        store = S3Directory(public_bucket, own_prefix(), settings)
        won = list(pool.map(lambda n: store.put_if_absent("key", str(n).encode()), range(16)))
        assert dropped.times == 0  # every writer wrote
    assert won.count(True) == 1
    assert store_content(versitygw, store) == str(won.index(True)).encode()


def test_the_winner_of_a_race_has_the_content_too(rclone: S3Server) -> None:
    """rclone may mix one writer's metadata with other content: here with damaged content."""
    prefix = own_prefix()
    with FaultProxy(rclone.port) as proxy:
        store = open_s3(rclone, prefix, endpoint=proxy.endpoint)
        proxy.fail("corrupt_upload", method="PUT", offset=1)
        assert store.put_if_absent("claim", b"mine") is True
        assert [r.body for r in proxy.seen if r.method == "PUT"] == [b"mhne", b"mine"]
    assert open_s3(rclone, prefix).get("claim") == b"mine"


def store_content(server: S3Server, store: S3Directory) -> bytes:
    """Read without the proxy."""
    return S3Directory(PUBLIC, store._prefix, settings_of(server)).get("key")


def test_claims_end_on_a_store_without_user_metadata(server: S3Server) -> None:
    with FaultProxy(server.port) as proxy:
        store = open_s3(server, endpoint=proxy.endpoint)
        proxy.fail("hide_metadata", times=1000, method="HEAD")
        for claim in (
            lambda: store.put_if_absent("claim", b"mine"),
            lambda: store.put_numbered("attempt-{}".format, 1, b""),
        ):
            text = refusal(claim, UsageError)
            assert "the store keeps no user metadata (x-amz-meta-*)" in text
        assert store.put_if_absent("claim", b"mine") is False


class EndlessListing(BaseHTTPRequestHandler):
    """Answers every listing with the same page, which claims not to be the last one."""

    def do_GET(self) -> None:  # noqa: N802
        is_upload = "uploadId" in self.path
        body = (_GONE if is_upload else _UPLOADS if "uploads" in self.path else _OBJECTS).encode()
        self.send_response(404 if is_upload else 200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_GONE = "<Error><Code>NoSuchUpload</Code></Error>"
_OBJECTS = """<ListBucketResult><IsTruncated>true</IsTruncated><Name>bucket</Name>
<NextContinuationToken>t</NextContinuationToken>
<Contents><Key>a</Key><Size>1</Size><ETag>e</ETag></Contents></ListBucketResult>"""
_UPLOADS = """<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><Bucket>bucket</Bucket>
<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>
<Upload><Key>a</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>"""


def test_a_listing_without_an_end() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), EndlessListing) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        settings = S3Settings(endpoint=f"http://127.0.0.1:{server.server_port}", region="x")
        store = S3Directory(BUCKET, "", settings)
        for listing in (store.list, store.unfinished_uploads):
            text = refusal(lambda listing=listing: list(listing()), TransientError)
            assert text == "s3://bucket: the store repeats its listing without an end"
        server.shutdown()


def test_a_listing_of_several_pages(versitygw: S3Server) -> None:
    prefix = own_prefix()
    folder = versitygw.folder / "objects" / BUCKET / prefix
    folder.mkdir()
    for number in range(2001):
        (folder / f"{number:04}").touch()
    with FaultProxy(versitygw.port) as proxy:
        listed = list(open_s3(versitygw, prefix, endpoint=proxy.endpoint).list())
        assert len(proxy.seen) == 3
    assert listed == [StoredObject(f"{number:04}", 0) for number in range(2001)]


def test_objects_of_other_programs(server: S3Server) -> None:
    """They have no hash; a compressed one is not unpacked; directories are not objects."""
    store = open_s3(server)
    client, prefix = store._client, store._prefix
    put = {"bucket_name": BUCKET, "headers": {"Content-Encoding": "gzip"}}
    client._execute("PUT", object_name=f"{prefix}packed", body=b"not unpacked", **put)
    client._execute("PUT", BUCKET, f"{prefix}folder/", body=b"")
    assert store.get("packed") == b"not unpacked"
    assert list(store.list()) == [StoredObject("packed", 12)]


def test_prefixes_are_separate(server: S3Server) -> None:
    prefix = own_prefix()
    one, other = open_s3(server, f"{prefix}a/"), open_s3(server, f"{prefix}ab/")
    one.put("key", b"one")
    other.put("key", b"other")
    assert one.get("key") == b"one"
    assert [found.key for found in open_s3(server, prefix).list()] == ["a/key", "ab/key"]
    assert list(one.list()) == [StoredObject("key", 3)]
