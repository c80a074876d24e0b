"""Machines that lack hard links, fsync, open files, memory or a writable /dev/shm."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.stages import verify
from ssd_core.store import LocalDirectory
from tests.processes import SSD, run_ssd
from tests.requirements import missing

FAILING_CALLS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char *name) {
    const char *number = getenv(name);
    if (number) errno = atoi(number);
    return number != 0;
}
static int fails_in(int file) {
    char link[64], path[4096] = "";
    const char *suffix = getenv("FAIL_SUFFIX");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    readlink(link, path, sizeof path - 1);
    size_t length = strlen(path), tail = suffix ? strlen(suffix) : 0;
    return suffix && length >= tail && !strcmp(path + length - tail, suffix) && fails("FAIL_READ");
}
ssize_t read(int file, void *space, size_t size) {
    if (fails_in(file)) return -1;
    return ((ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(file, space, size);
}
ssize_t readv(int file, const struct iovec *spaces, int count) {
    if (fails_in(file)) return -1;
    return ((ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "readv"))(
        file, spaces, count);
}
int link(const char *from, const char *to) {
    if (fails("FAIL_LINK")) return -1;
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "link"))(from, to);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    if (fails("FAIL_LINK")) return -1;
    typedef int (*Call)(int, const char *, int, const char *, int);
    return ((Call)dlsym(RTLD_NEXT, "linkat"))(a, from, b, to, flags);
}
int fsync(int file) {
    if (fails("FAIL_FSYNC")) return -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}
"""
CLAIM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ssd_core.store import LocalDirectory

store = LocalDirectory(Path(sys.argv[1]))
with ThreadPoolExecutor(8) as pool:
    won = list(pool.map(lambda n: store.put_if_absent("claim", str(n).encode()), range(8)))
assert won.count(True) == 1
assert store.get("claim") == str(won.index(True)).encode()
assert [found.key for found in store.list()] == ["claim"]
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library for LD_PRELOAD whose calls fail with the numbers in FAIL_LINK and FAIL_FSYNC."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        missing("gcc", "no C compiler is installed: apt-get install gcc")
    folder = tmp_path_factory.mktemp("library")
    (folder / "calls.c").write_text(FAILING_CALLS)
    command = [compiler, "-shared", "-fPIC", "-o", "calls.so", "calls.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "calls.so"


@pytest.mark.parametrize("name", ["EPERM", "EXDEV", "EMLINK", "ENOSYS", "EOPNOTSUPP"])
def test_one_of_many_writers_wins_without_hard_links(
    library: Path, tmp_path: Path, name: str
) -> None:
    environment = {"LD_PRELOAD": str(library), "FAIL_LINK": str(getattr(errno, name))}
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "store")]
    subprocess.run(command, check=True, env=os.environ | environment)


@pytest.mark.parametrize("name", ["EINVAL", "ENOSYS", "EOPNOTSUPP"])
def test_a_conversion_without_fsync(
    library: Path, few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAIL_FSYNC", str(getattr(errno, name)))
    done = run_ssd("convert", few_images, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (verified,) = verify.run(LocalDirectory(tmp_path / "out"))
    assert verified.faults == []


@pytest.mark.parametrize(("name", "suffix"), [("EIO", ".xml"), ("ESTALE", ".jpg")])
def test_a_failing_disk_is_not_a_fault_of_the_source(
    library: Path,
    few_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    suffix: str,
) -> None:
    """Policy repair would drop the images without a trace."""
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAIL_READ", str(getattr(errno, name)))
    monkeypatch.setenv("FAIL_SUFFIX", suffix)
    done = run_ssd("convert", few_images, "--out", tmp_path / "out", "--policy", "repair")
    assert done.returncode == 75, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {few_images}")
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("limit", "command"),
    [
        ("-n 6", "convert --workers 2"),
        ("-v 300000", "convert --workers 2"),
        ("-v 450000", "convert --workers 2"),
        ("-v 450000", "check"),
    ],
)
def test_a_low_limit_suffices_or_ends_in_one_line(
    few_images: Path, tmp_path: Path, limit: str, command: str
) -> None:
    words = [SSD, *command.split(), few_images, "--out", tmp_path / "out"]
    limited = ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", *words]
    done = subprocess.run(limited, capture_output=True, text=True)
    if limit == "-v 450000" and done.returncode == 0:  # with few processors
        return
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: too ")
    assert done.stderr.endswith(" and repeat the command\n")


def test_workers_need_no_shared_memory(few_images: Path, tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o ro none /dev/shm"
    if subprocess.run(["unshare", "-m", *mount.split()], capture_output=True).returncode != 0:
        missing("mount", "this user may not mount a file system")
    words = [SSD, "convert", few_images, "--out", tmp_path / "out", "--workers", "2"]
    words += ["--set", "convert.shard_bytes=50000"]
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
