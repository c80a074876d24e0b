"""Processes that publish to one directory at once: one data set wins, the others are refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.stages import convert, verify
from ssd_core.store import LocalDirectory, Location
from tests.store.conftest import RACE_SECONDS, new_location, use_server
from tests.store.servers import S3Server

NUM_DATA_SETS, WRITERS_OF_EACH = 3, 2
WRITER = """
import sys
from functools import partial
from pathlib import Path

from ssd_core.data.conversion.publish import publish_dataset
from ssd_core.errors import OwnershipError
from ssd_core.store import Location
from ssd_core.store.s3 import settings

settings.RetryPolicy = partial(settings.RetryPolicy, settle_seconds=float(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
try:
    publish_dataset(Path(sys.argv[1]), Location.parse(sys.argv[2]))
except OwnershipError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def data_dirs(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[LocalDirectory]:
    """Data sets that differ in the limits of their shards."""
    folder = tmp_path_factory.mktemp("racers")
    locations = [LocalDirectory(folder / str(number)) for number in range(NUM_DATA_SETS)]
    for number, location in enumerate(locations):
        convert.run(ConvertConfig(shard_bytes=50_000 + number), str(few_images), location)
    return locations * WRITERS_OF_EACH


@pytest.fixture
def location(
    request: pytest.FixtureRequest,
    own_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Location:
    """An empty directory on the server of the test; rclone has no conditional writes."""
    server: S3Server = request.getfixturevalue(request.param)
    use_server(monkeypatch, server, tmp_path)
    return new_location()


def race(data_dirs: list[LocalDirectory], location: Location, settle_seconds: float) -> list[str]:
    """Publish from one process per data set; return the error of each, "" for success."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data_dir), location.uri, str(settle_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for data_dir in data_dirs
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return [writer.communicate()[1].strip() for writer in writers]


@pytest.mark.parametrize(
    ("location", "settle_seconds"),
    [("versitygw", 0.0), ("rclone", RACE_SECONDS)],
    indirect=["location"],
)
def test_one_of_many_data_sets_wins(
    location: Location, data_dirs: list[LocalDirectory], settle_seconds: float
) -> None:
    """Several writers of one data set all succeed or are all refused."""
    digests = [read_manifest(data_dir).digest for data_dir in data_dirs]
    errors = race(data_dirs, location, settle_seconds)
    winner = digests[errors.index("")]
    assert read_manifest(location).digest == winner
    for digest, text in zip(digests, errors, strict=True):
        assert (text == "") == (digest == winner), text
        if text:
            named = re.match(rf"{location} holds another data set: its digest is (\w+)…; ", text)
            assert named is not None, text
            # Where conditions are ignored, it may be a data set that was there for a moment.
            assert named[1] in {other[:12] for other in digests} - {digest[:12]}
    assert list(verify.run(location)) == [(location, [])]
