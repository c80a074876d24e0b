"""The cache of a node: correct content within its limit, shared by processes that may be killed."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ssd_core.errors import DataError, TransientError, UsageError
from ssd_core.store.cache import Cache, open_cache
from ssd_core.store.known_file import KnownFile
from ssd_core.store.local import LocalDirectory, file_sha256
from tests.faults.fault_proxy import FaultProxy
from tests.store.conftest import limit_file_size, open_s3
from tests.store.servers import ROOT, S3Server, wait_until

SIZE = 1000


class CountingDirectory(LocalDirectory):
    """A remote directory that records its reads, and can block or corrupt them."""

    local = None  # type: ignore[assignment]

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.lies: list[bytes] = []

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.open.wait(60)
        self.read.append(key)
        return self.lies.pop() if self.lies else super().get(key, start, length)


@pytest.fixture
def store(tmp_path: Path) -> CountingDirectory:
    return CountingDirectory(tmp_path / "remote")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Room for three files."""
    return Cache(tmp_path / "cache", 3 * SIZE)


def add(store: CountingDirectory, key: str) -> KnownFile:
    content = (key.encode() * SIZE)[:SIZE]
    store.put(key, content)
    return KnownFile.of(key, content)


def fetch(cache: Cache, store: CountingDirectory, file: KnownFile) -> Path:
    with cache.fetch(store, file) as path:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    return path


def missing(num_bytes: int = SIZE) -> KnownFile:
    return KnownFile(name="missing", sha256="0" * 64, num_bytes=num_bytes)


def names(cache: Cache) -> set[str]:
    found = os.listdir(cache.directory) if cache.directory.exists() else []
    return {name for name in found if not name.startswith(".lock-")}


def test_an_object_is_fetched_once(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    assert fetch(cache, store, file) == fetch(cache, store, file)
    assert store.read == ["a"]
    assert names(cache) == {file.sha256}


def test_a_local_file_is_returned_as_it_is(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"x")
    file = KnownFile(name="key", sha256="", num_bytes=1)
    with cache.fetch(LocalDirectory(tmp_path), file) as path:
        assert path == tmp_path / "key"
    assert not cache.directory.exists()


def test_equal_content_is_kept_once(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    store.put("b", store.get("a"))
    other = KnownFile(name="b", sha256=file.sha256, num_bytes=SIZE)
    assert fetch(cache, store, file) == fetch(cache, store, other)


def test_the_least_recently_fetched_is_removed_first(
    cache: Cache, store: CountingDirectory
) -> None:
    a, b, c, d = (add(store, key) for key in "abcd")
    for file in (a, b, c, a, d):
        fetch(cache, store, file)
        time.sleep(0.01)  # the clock of the file system ticks
    assert names(cache) == {a.sha256, c.sha256, d.sha256}


def test_a_file_in_use_stays_beyond_the_limit(cache: Cache, store: CountingDirectory) -> None:
    """No other process removes it until the end of the block, however long that takes."""
    other = Cache(cache.directory, cache.max_bytes)
    held, *others = (add(store, key) for key in "abcdefg")
    with cache.fetch(store, held) as path, other.fetch(store, held):
        os.utime(path, (0, 0))
        for file in others:
            fetch(other, store, file)
        assert path.exists()
    fetch(other, store, add(store, "h"))
    assert not path.exists()


def test_an_open_file_keeps_its_content(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    with fetch(cache, store, file).open("rb") as opened:
        for key in "bcde":
            fetch(cache, store, add(store, key))
        assert file.sha256 not in names(cache)
        assert hashlib.sha256(opened.read()).hexdigest() == file.sha256


def test_an_object_larger_than_the_cache(cache: Cache, store: CountingDirectory) -> None:
    with pytest.raises(UsageError, match="missing has 3001 bytes.* is 3000; set SSD_CACHE_BYTES"):
        fetch(cache, store, missing(3 * SIZE + 1))


def test_damage_in_transfer_is_repaired(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    store.lies = [b"x" * SIZE]
    fetch(cache, store, file)
    assert store.read == ["a", "a"]


@pytest.mark.parametrize(
    ("lies", "kind"),
    [([b"x" * SIZE] * 2, DataError), ([b"x" * SIZE, b"y"], TransientError)],
)
def test_lasting_damage(
    cache: Cache, store: CountingDirectory, lies: list[bytes], kind: type[Exception]
) -> None:
    file = add(store, "a")
    store.lies = lies
    with pytest.raises(kind, match=f"a is damaged: sha256 .*, expected {file.sha256[:12]}"):
        fetch(cache, store, file)
    assert names(cache) == set()
    fetch(cache, store, file)


def test_a_damaged_file_stays_while_another_process_looks_at_the_files(
    cache: Cache, store: CountingDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = add(store, "a")
    other = Cache(cache.directory, cache.max_bytes)
    path = fetch(other, store, file)
    path.write_bytes(b"x" * SIZE)
    lock_number = (cache.directory / ".lock-files").stat().st_ino

    def is_awaited() -> bool:
        locks = Path("/proc/locks").read_text().splitlines()
        return any("->" in lock and f":{lock_number} " in lock for lock in locks)

    def verify(path: Path) -> str:
        looking.enter_context(other._lock("files"))
        return file_sha256(path)

    monkeypatch.setattr("ssd_core.store.cache.file_sha256", verify)
    with ThreadPoolExecutor() as pool:
        with ExitStack() as looking:
            fetching = pool.submit(fetch, cache, store, file)
            wait_until(lambda: is_awaited() or not path.exists())
            assert path.exists()
        fetching.result()


def test_a_missing_object(cache: Cache, store: CountingDirectory) -> None:
    with pytest.raises(DataError, match="missing is missing"):
        fetch(cache, store, missing())
    assert names(cache) == set()


@pytest.mark.parametrize("damage", [b"x", b"x" * SIZE])
def test_damage_on_the_disk_is_repaired(
    cache: Cache, store: CountingDirectory, damage: bytes
) -> None:
    """A process uses only files that it has hashed itself."""
    file = add(store, "a")
    fetch(cache, store, file).write_bytes(damage)
    fetch(Cache(cache.directory, cache.max_bytes), store, file)
    assert store.read == ["a", "a"]


def test_threads_that_fetch_the_same_object(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch(cache, store, file), range(8)))
    assert len(set(paths)) == 1
    assert store.read == ["a"]


def test_a_process_killed_during_a_fetch(
    cache: Cache, store: CountingDirectory, tmp_path: Path
) -> None:
    """Its lock is released, and its partial file is removed and replaced by a complete one."""
    file, other = add(store, "a"), add(store, "b")
    assert file.sha256[:2] != other.sha256[:2]  # else they share a lock
    code = (
        "import sys, time; from pathlib import Path\n"
        "from ssd_core.store.cache import Cache\n"
        "from ssd_core.store.known_file import KnownFile\n"
        "class Slow:\n"
        "    local = None\n"
        "    def get(self, *_):\n"
        "        print('fetching', flush=True); time.sleep(60)\n"
        "file = KnownFile(name='a', sha256=sys.argv[2], num_bytes=1000)\n"
        "with Cache(Path(sys.argv[1]), 3000).fetch(Slow(), file): pass"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache.directory), file.sha256],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "fetching\n"
        fetch(cache, store, other)
        assert names(cache) == {other.sha256, f".partial-{file.sha256}"}  # its process is alive
        process.send_signal(signal.SIGKILL)
    third = add(store, "c")
    fetch(cache, store, third)
    assert names(cache) == {other.sha256, third.sha256}
    fetch(cache, store, file)


def test_a_download_counts_before_it_is_complete(cache: Cache, store: CountingDirectory) -> None:
    files = [add(store, str(number)) for number in range(5)]
    for file in files[:3]:
        fetch(cache, store, file)
    store.open.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(fetch, cache, store, file) for file in files[3:]]
        assert wait_until(lambda: sum(name.startswith(".partial-") for name in names(cache)) == 2)
        taken = sum((cache.directory / name).stat().st_size for name in names(cache))
        store.open.set()
        for future in waiting:
            future.result()
    assert taken <= cache.max_bytes


def test_prefetch_keeps_the_order(cache: Cache, store: CountingDirectory) -> None:
    files = [add(store, key) for key in "abc"]
    cache.prefetch(store, [*files[:2], missing()])  # its error is not raised here
    cache.prefetch(store, files[2:])
    assert wait_until(lambda: names(cache) == {file.sha256 for file in files})
    for file in files:
        fetch(cache, store, file)
    assert store.read == ["a", "b", "missing", "c"]
    with pytest.raises(DataError):
        fetch(cache, store, missing())


def test_a_full_disk(cache: Cache, store: CountingDirectory) -> None:
    file = add(store, "a")
    with limit_file_size(SIZE // 2), pytest.raises(TransientError, match="the disk is full"):
        fetch(cache, store, file)
    assert names(cache) == set()


def test_files_with_names(cache: Cache, store: CountingDirectory) -> None:
    """The names are links, which survive the removal of a file until it is fetched again."""
    a, b = add(store, "a"), add(store, "b")
    paths = {"set/one": fetch(cache, store, a), "set/one.db": fetch(cache, store, b)}
    folder = cache.name_files(paths)
    assert cache.name_files(paths) == folder
    assert (folder / "set/one").read_bytes() == b"a" * SIZE
    assert (folder / "set/one.db").read_bytes() == b"b" * SIZE
    for key in "cde":
        fetch(cache, store, add(store, key))
    assert not (folder / "set/one").exists()
    fetch(cache, store, a)
    assert (folder / "set/one").read_bytes() == b"a" * SIZE
    assert cache.name_files({"set/one": paths["set/one.db"]}) != folder


READER = """
import sys, time
from pathlib import Path
from tests.store.test_cache import CountingDirectory, SIZE
from ssd_core.store.cache import Cache
from ssd_core.store.known_file import KnownFile

files = [
    KnownFile(name=key, sha256=sha256, num_bytes=SIZE)
    for key, sha256 in zip("abcdef", sys.argv[3:])
]
store = CountingDirectory(Path(sys.argv[1]))
cache = Cache(Path(sys.argv[2]), 3 * SIZE)
print("reading", flush=True)
while True:
    for file in files:
        with cache.fetch(store, file) as path:
            time.sleep(0.001)
            assert path.read_bytes() == store.get(file.name)
"""


def start_reader(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_readers_killed_at_any_moment(
    cache: Cache, store: CountingDirectory, tmp_path: Path
) -> None:
    """The others continue, in half the space they need, and the remaining files are complete."""
    files = [add(store, key) for key in "abcdef"]
    command = [sys.executable, "-c", READER, str(tmp_path / "remote"), str(cache.directory)]
    command += [file.sha256 for file in files]
    with ExitStack() as at_the_end:
        readers = [at_the_end.enter_context(start_reader(command)) for _ in range(3)]
        for reader in readers:
            at_the_end.callback(reader.kill)
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
        for number, reader in enumerate(readers):
            for file in files * (3 + number):
                fetch(cache, store, file)
            assert reader.poll() is None
            reader.kill()
    assert len(store.read) > len(files)
    fetch(cache, store, add(store, "g"))
    assert len(names(cache)) <= 3  # without partial files of the killed
    assert all(file_sha256(cache.directory / name) == name for name in names(cache))


def test_a_store_that_fails(versitygw: S3Server, tmp_path: Path) -> None:
    content = os.urandom(20 * 2**20)
    file = KnownFile.of("large", content)
    cache = Cache(tmp_path / "cache", 2**30)
    with FaultProxy(versitygw.port) as proxy:
        store = open_s3(versitygw, endpoint=proxy.endpoint)
        store.put("large", content)
        faults = [
            proxy.fail("cut", times=2, method="GET"),
            proxy.fail("corrupt", method="GET", offset=17),
            proxy.fail("error", times=2, method="GET"),
        ]
        with cache.fetch(store, file) as path:
            assert path.read_bytes() == content
    assert [fault.times for fault in faults] == [0, 0, 0]


def test_the_cache_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SSD_CACHE_BYTES", "123")
    cache = open_cache()
    assert (cache.directory, cache.max_bytes) == (tmp_path / "cache", 123)
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    with monkeypatch.context() as patch:  # a volume of Kubernetes belongs to root
        patch.setattr("os.getuid", lambda: 12345)
        assert open_cache().directory == tmp_path / "cache"
    monkeypatch.setenv("SSD_CACHE_BYTES", "1 GB")
    with pytest.raises(UsageError, match="SSD_CACHE_BYTES is '1 GB'; expected a number of bytes"):
        open_cache()
    monkeypatch.delenv("SSD_CACHE_BYTES")
    assert open_cache().max_bytes > 2**20
    monkeypatch.delenv("SSD_CACHE_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert open_cache().directory == tmp_path / f"ssd-cache-{os.getuid()}"
