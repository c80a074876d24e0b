"""URIs, and the layout of directories below a root."""

from pathlib import Path

import pytest

from ssd_core.errors import UsageError
from ssd_core.store import Location, local_path
from ssd_core.store.layout import Layout
from ssd_core.store.s3.directory import S3Directory
from tests.store.conftest import refusal


def test_local_uris(tmp_path: Path) -> None:
    store = Location.parse(f"file://{tmp_path}")
    store.put("key", b"x")
    assert (tmp_path / "key").read_bytes() == b"x"
    assert local_path("relative/path") == local_path("./relative/path") == Path("relative/path")
    assert local_path("run:1/a?b#c") == Path("run:1/a?b#c")
    assert local_path("file:///with%20space") == Path("/with space")
    assert local_path("file://localhost/a?b") == Path("/a?b")


@pytest.mark.parametrize("uri", ["ftp://host/path", "http://[", "s3:/x://", "gs://bucket/a"])
def test_another_scheme(uri: str) -> None:
    with pytest.raises(
        UsageError, match="is not supported here; expected a path, file:// or s3://"
    ):
        Location.parse(uri)
    with pytest.raises(UsageError, match="is not supported here; expected a path or file://"):
        local_path(uri)


@pytest.mark.parametrize("scheme", ["s3", "gs", "http", "https"])
def test_a_scheme_with_one_slash_is_not_a_folder(scheme: str) -> None:
    with pytest.raises(UsageError, match=f"lacks a slash; did you mean {scheme}://bucket/a\\?"):
        Location.parse(f"{scheme}:/bucket/a")


@pytest.mark.parametrize("uri", ["file://data/set", "file://", "file:///"])
def test_a_file_uri_of_another_machine_or_without_a_path(uri: str) -> None:
    with pytest.raises(UsageError, match="is not a path on this machine; expected file:///path"):
        Location.parse(uri)


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a/b", "bucket", "a/b"),
        ("s3://my.bucket-1/a b%20c/", "my.bucket-1", "a b%20c"),
    ],
)
def test_s3_uris(uri: str, bucket: str, prefix: str) -> None:
    location = Location.parse(uri)
    assert location == S3Directory(bucket, prefix)
    assert location.uri == uri.rstrip("/")
    assert location.local is None


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://a", "s3://buc ket/x", "s3://-b-/x"])
def test_s3_uris_without_a_bucket(uri: str) -> None:
    assert "expected s3://bucket/prefix" in refusal(lambda: Location.parse(uri), UsageError)


@pytest.mark.parametrize("prefix", ["x/../y", "..", "./x", "x/."])
def test_an_s3_uri_that_is_not_a_plain_path(prefix: str) -> None:
    text = refusal(lambda: Location.parse(f"s3://bucket/{prefix}"), UsageError)
    assert "contains '.' or '..'; expected s3://bucket/prefix without them" in text


def test_credentials_in_a_uri_are_refused() -> None:
    text = refusal(lambda: Location.parse("s3://id:canary@bucket/x"), UsageError)
    assert "AWS_SECRET_ACCESS_KEY" in text


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data/ssd", "/data/ssd"),
        ("file:///data/ssd", "/data/ssd"),
        ("runs_here", "runs_here"),
        ("s3://bucket/ssd/", "s3://bucket/ssd"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_the_layout(root: str, expected: str) -> None:
    layout = Layout(root)
    assert str(layout.dataset("ab12")) == f"{expected}/datasets/ab12"
    assert str(layout.training("cd34")) == f"{expected}/training/cd34"
    assert str(layout.run("r-1", "evaluate")) == f"{expected}/runs/r-1/evaluate"
    assert str(layout.benchmarks("nightly")) == f"{expected}/benchmarks/nightly"
    assert str(layout.model("cells", "1.0")) == f"{expected}/models/cells/1.0"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/abs",
        ".hidden",
        "nul\0",
        "a b",
        "a$(b)",
        "ü",
        "a\n",
        "x" * 129,
    ],
)
def test_a_name_cannot_leave_its_directory(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name"):
        Layout("/data").model("cells", name)
