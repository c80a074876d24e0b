"""A conversion killed with SIGKILL at every operation that changes a file, and then repeated."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.datasets import names_in

# Runs in a separate process, which forks once per conversion. A fork is killed when it opens a file
# for writing, renames or removes its n-th file, or in the middle of a large write.
DRIVER = """
import hashlib, json, os, signal, sys
from pathlib import Path
from ssd_core.config import ConvertConfig
from ssd_core.stages import convert
from ssd_core.store import LocalDirectory

source, out, config = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
real_write = os.write

def die_at(step):
    count = 0
    def is_last():
        nonlocal count
        count += 1
        return count == step
    def hook(event, values):
        changes = event in {"os.chmod", "os.rename", "os.remove"}
        if event == "open":
            changes = bool(values[2] & (os.O_WRONLY | os.O_RDWR))
        if changes and is_last():
            os.kill(os.getpid(), signal.SIGKILL)
    def write(descriptor, data):
        if len(data) > 5000 and is_last():
            real_write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return real_write(descriptor, data)
    sys.addaudithook(hook)
    os.write = write

def in_fork(step):
    pid = os.fork()
    if not pid:
        if step:
            die_at(step)
        convert.run(ConvertConfig(**config), source, LocalDirectory(out))
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def shards():
    return {p.name: p.stat().st_mtime_ns for p in out.glob("*.arrow")} if out.exists() else {}

step = 0
while True:
    step += 1
    status = in_fork(step)
    finished, partial = shards(), len(list(out.glob(".partial*"))) if out.exists() else 0
    report = dict(step=step, killed=os.WIFSIGNALED(status), finished=len(finished), partial=partial)
    report["manifest"] = (out / "manifest.json").exists()
    report["rerun"] = in_fork(0)
    report["kept"] = sum(shards().get(name) == time for name, time in finished.items())
    report["findings"] = json.loads((out / "manifest.json").read_text())["findings"]
    report["files"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}
    print(json.dumps(report), flush=True)
    for path in out.iterdir():
        path.unlink()
    if not report["killed"]:
        break
"""


@pytest.fixture(scope="module")
def reports(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("killed")
    source = Path(shutil.copytree(few_images, folder / "source"))
    for split, count in (("train", 4), ("val", 2)):
        names = names_in(source, split)[:count]
        (source / f"ImageSets/Main/{split}.txt").write_text("\n".join(names))
        if split == "train":
            copied = names[0], names[-1]
    annotations = source / f"Annotations/{names[0]}.xml"  # a finding that a rerun must keep
    annotations.write_text(annotations.read_text().replace("<xmin>", "<xmin>-9", 1))
    first, last = (source / f"JPEGImages/{name}.jpg" for name in copied)
    shutil.copyfile(first, last)  # a finding that needs both images
    config = {"shard_bytes": 25_000, "policy": "repair"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, source, folder / "out", json.dumps(config)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_rerun_gives_identical_bytes(reports: list[dict[str, Any]]) -> None:
    *killed, whole = reports
    assert not whole["killed"]
    assert whole["findings"] == {"box_partly_outside": 1, "equal_images": 1, "image_not_used": 6}
    assert set(whole["files"]) == {
        "findings.json",
        "invocation.json",
        "manifest.json",
        "results.json",
        "train-00000.arrow",
        "train-00001.arrow",
        "val-00000.arrow",
    }
    assert len(killed) > 30
    for report in killed:
        assert report["rerun"] == 0, report
        assert report["files"] == whole["files"], report["step"]


def test_finished_shards_are_kept(reports: list[dict[str, Any]]) -> None:
    """A shard is lost only between its renaming and its line in the journal."""
    assert {report["finished"] for report in reports} == {0, 1, 2, 3}
    lost = [report for report in reports if report["kept"] < report["finished"]]
    assert all(report["finished"] - report["kept"] == 1 for report in lost)
    assert 0 < len(lost) < len(reports) / 2


def test_the_manifest_comes_last(reports: list[dict[str, Any]]) -> None:
    assert any(report["partial"] for report in reports)
    assert any(report["manifest"] and report["killed"] for report in reports)
    for report in reports:
        assert not report["manifest"] or report["finished"] == 3
