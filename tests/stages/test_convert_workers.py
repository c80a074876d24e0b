"""Conversion by several processes: the same bytes as by one, and what a kill leaves."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import DataError
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory
from tests.processes import children, wait_until_gone

SSD = Path(sys.executable).with_name("ssd")
CONFIG = {"shard_bytes": 60_000, "policy": "repair"}


def contents(out_dir: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out_dir.iterdir())}


@pytest.fixture
def faulty(few_photographs: Path, tmp_path: Path) -> Path:
    """Return photographs of which some are dropped, so many that a whole part is empty."""
    folder = Path(shutil.copytree(few_photographs, tmp_path / "faulty"))
    names = (folder / "ImageSets/Main/train.txt").read_text().split()
    for name in names[:4]:
        (folder / f"JPEGImages/{name}.jpg").write_bytes(b"x" * 20_000)
    path = folder / f"Annotations/{names[6]}.xml"
    path.write_text(path.read_text().replace("<xmin>", "<xmin>-9", 1))
    return folder


def test_workers_change_nothing(faulty: Path, tmp_path: Path) -> None:
    results = []
    for workers in (1, 2, 3):
        out_dir = tmp_path / f"by-{workers}"
        convert.run(CONFIG, str(faulty), LocalDirectory(out_dir), workers=workers)
        results.append(contents(out_dir))
    assert results[0] == results[1] == results[2]
    names = [shard.name for shard in read_manifest(LocalDirectory(out_dir)).splits["train"].shards]
    assert names == ["train-00001.arrow", "train-00002.arrow"]  # all of part 0 was dropped
    assert read_manifest(LocalDirectory(out_dir)).findings == {
        "box_partly_outside": 1,
        "image_not_an_image": 4,
    }


def test_a_strict_error_is_the_same(faulty: Path, tmp_path: Path) -> None:
    said = []
    for workers in (1, 2):
        with pytest.raises(DataError, match="error 1 of 5") as caught:
            convert.run(
                {"shard_bytes": 60_000},
                str(faulty),
                LocalDirectory(tmp_path / f"{workers}"),
                workers=workers,
            )
        said.append(str(caught.value).replace(str(tmp_path / f"{workers}"), "OUT"))
        assert not (tmp_path / f"{workers}" / "manifest.json").exists()
    assert said[0] == said[1]


def find_workers(pid: int) -> list[int]:
    return [c for c in children(pid) if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def start_and_wait_for_a_shard(source: Path, out_dir: Path) -> "subprocess.Popen[str]":
    """Start a conversion by two workers and return when one shard of many is finished."""
    code = (
        "import sys; from pathlib import Path; from ssd_core.stages import convert\n"
        "if __name__ == '__main__':\n"
        "    from ssd_core.cli import exits\n"
        "    config = {'shard_bytes': 20_000}\n"
        "    exits.run(lambda **_: convert.run(config, sys.argv[1], Path(sys.argv[2]), workers=2))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, source, out_dir], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list(out_dir.glob("*.arrow")):
        time.sleep(0.005)
    return process


def test_a_killed_conversion_leaves_no_worker_and_continues(bccd_dir: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = {"shard_bytes": 20_000}
    convert.run(config, str(bccd_dir), LocalDirectory(tmp_path / "whole"))
    process = start_and_wait_for_a_shard(bccd_dir, tmp_path / "out")
    workers = find_workers(process.pid)
    process.kill()
    process.communicate()
    assert len(workers) == 2
    wait_until_gone(*workers)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.arrow")}
    assert 0 < len(finished) < len(read_manifest(LocalDirectory(tmp_path / "whole")).shards())
    convert.run(config, str(bccd_dir), LocalDirectory(tmp_path / "out"), workers=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_killed_worker_ends_the_conversion(bccd_dir: Path, tmp_path: Path) -> None:
    process = start_and_wait_for_a_shard(bccd_dir, tmp_path / "out")
    for pid in find_workers(process.pid):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 75, said
    assert said.splitlines()[-1].startswith("error: a worker process of the conversion was killed")
    assert not (tmp_path / "out" / "manifest.json").exists()


# The workers of a conversion are started anew and load this file, too: so each of them can kill
# itself, or the one that started it, at the moment when a shard gets its final name.
KILLER = """
import os, signal, sys
from pathlib import Path

source, out, target, victim, pids = sys.argv[1:]
Path(pids, str(os.getpid())).touch()

def hook(event, values):
    if event == "os.rename" and str(values[1]).endswith(target):
        os.kill(os.getpid() if victim == "worker" else os.getppid(), signal.SIGKILL)

sys.addaudithook(hook)
if __name__ == "__main__":
    from ssd_core.cli import exits
    from ssd_core.stages import convert

    config = {"shard_bytes": 100_000}
    exits.run(lambda **_: convert.run(config, source, Path(out), workers=2))
"""


@pytest.mark.parametrize(("victim", "code"), [("worker", 75), ("parent", -signal.SIGKILL)])
def test_killed_at_every_shard_and_repeated(
    few_photographs: Path, tmp_path: Path, victim: str, code: int
) -> None:
    config: dict[str, Any] = {"shard_bytes": 100_000}
    convert.run(config, str(few_photographs), LocalDirectory(tmp_path / "whole"))
    shards = [shard.name for shard in read_manifest(LocalDirectory(tmp_path / "whole")).shards()]
    assert len(shards) >= 3
    (tmp_path / "killer.py").write_text(KILLER)
    for name in shards:
        out_dir, pids = tmp_path / f"out-{name}", tmp_path / f"pids-{name}"
        pids.mkdir()
        words = [few_photographs, out_dir, name, victim, pids]
        done = subprocess.run(
            [sys.executable, tmp_path / "killer.py", *words], stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == code, done.stderr
        wait_until_gone(*(int(path.name) for path in pids.iterdir()))
        assert not (out_dir / "manifest.json").exists()
        finished = {path: path.stat().st_mtime_ns for path in out_dir.glob("*.arrow")}
        journal = (out_dir / "journal.jsonl").read_text()
        convert.run(config, str(few_photographs), LocalDirectory(out_dir))
        assert contents(out_dir) == contents(tmp_path / "whole")
        kept = {path for path, time in finished.items() if path.stat().st_mtime_ns == time}
        assert {path for path in finished if path.name in journal} == kept


def test_the_command_takes_workers(few_photographs: Path, tmp_path: Path) -> None:
    command = [SSD, "convert", few_photographs, "--out", tmp_path / "out", "--workers"]
    done = subprocess.run([*command, "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 train + 4 val images" in done.stderr
    refused = subprocess.run([*command, "0"], capture_output=True, text=True)
    assert refused.returncode == 2
