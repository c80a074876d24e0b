"""A conversion killed with SIGKILL at every step that changes a file, and then repeated."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Runs in a process of its own, which forks once for each conversion. A fork to be killed ends when
# it opens for writing, renames or removes its n-th file, or in the middle of a large write.
DRIVER = """
import hashlib, json, os, signal, sys
from pathlib import Path
from ssd_core.stages import convert

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
        convert.run(config, source, out)
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
def reports(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("killed")
    for split, count in (("train", 4), ("val", 2)):
        names = (bccd_dir / f"ImageSets/Main/{split}.txt").read_text().split()[:count]
        for name in names:
            for file in (f"JPEGImages/{name}.jpg", f"Annotations/{name}.xml"):
                (folder / "source" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bccd_dir / file, folder / "source" / file)
        (folder / "source/ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (folder / f"source/ImageSets/Main/{split}.txt").write_text("\n".join(names))
    (folder / "source/Annotations" / f"{names[0]}.xml").write_text(
        (bccd_dir / "Annotations" / f"{names[0]}.xml").read_text().replace("<xmin>", "<xmin>-9", 1)
    )  # a finding, which a rerun must not forget
    first, *_, last = sorted((folder / "source/JPEGImages").iterdir())
    shutil.copyfile(first, last)  # another one, which is only seen when both are known
    config = {"shard_bytes": 25_000, "policy": "repair"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder / "source", folder / "out", json.dumps(config)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_all_was_found(reports: list[dict[str, Any]]) -> None:
    assert reports[-1]["findings"] == {"box_partly_outside": 1, "equal_images": 1}


def test_every_rerun_ends_byte_identical(reports: list[dict[str, Any]]) -> None:
    *killed, whole = reports
    assert not whole["killed"]
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
    """A shard is lost at most between its renaming and its line in the journal."""
    assert {report["finished"] for report in reports} == {0, 1, 2, 3}
    lost = [report for report in reports if report["kept"] < report["finished"]]
    assert all(report["finished"] - report["kept"] == 1 for report in lost)
    assert 0 < len(lost) < len(reports) / 2


def test_the_manifest_comes_last(reports: list[dict[str, Any]]) -> None:
    assert any(report["partial"] for report in reports)
    assert any(report["manifest"] and report["killed"] for report in reports)
    for report in reports:
        assert not report["manifest"] or report["finished"] == 3
