"""Shares of a conversion, one per machine: together the same bytes as one conversion."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ssd_core.data.conversion.journal import Share
from ssd_core.errors import DataError, OwnershipError, UsageError
from ssd_core.stages import gc
from ssd_core.store import LocalDirectory
from tests.datasets import SSD, convert_into, file_hashes, manifest_of, names_in, run_convert

CONFIG = {"shard_bytes": 40_000, "policy": "repair"}
SETTINGS = ("--policy", "repair", "--set", "convert.shard_bytes=40000")

# Loaded by the command: it kills itself when its second shard gets its final name.
KILLER = """
import os, signal, sys

shards = []

def hook(event, values):
    if event == "os.rename" and str(values[1]).endswith(".arrow"):
        shards.append(values[1])
        if len(shards) == 2:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
"""


@pytest.fixture
def source(few_images: Path, tmp_path: Path) -> Path:
    """Return a data set with findings: within shards, and of images in different shards."""
    folder = Path(shutil.copytree(few_images, tmp_path / "source"))
    names = names_in(folder, "train")
    path = folder / f"Annotations/{names[2]}.xml"
    path.write_text(path.read_text().replace("<xmin>", "<xmin>-9", 1))
    shutil.copy(folder / f"JPEGImages/{names[0]}.jpg", folder / f"JPEGImages/{names[-1]}.jpg")
    (folder / f"JPEGImages/{names[4]}.jpg").write_bytes(b"no image")
    return folder


def test_processes_write_the_bytes_of_one(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_into(tmp_path / "whole", CONFIG, source)
    out = tmp_path / "out"
    words = [SSD, "convert", source, "--out", out, *SETTINGS, "--share"]
    running = [subprocess.Popen([*words, f"{number}/3"]) for number in (1, 2)]
    with monkeypatch.context() as patch:
        (tmp_path / "sitecustomize.py").write_text(KILLER)
        patch.setenv("PYTHONPATH", str(tmp_path))
        assert run_convert(*words[2:], "3/3").returncode == -signal.SIGKILL
    assert [process.wait() for process in running] == [0, 0]
    assert not (out / "manifest.json").exists()
    repeated = run_convert(*words[2:], "3/3")
    assert repeated.stdout == f"share 3 of 3: 4 images, 74 boxes, 2 shards\n{out}\n"
    assert "once all 3 shares are written, run the command without --share" in repeated.stderr
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*.arrow")}
    assert written.keys() == {shard.name for shard in manifest_of(tmp_path / "whole").shards()}

    convert_into(out, CONFIG, source)
    assert file_hashes(out) == file_hashes(tmp_path / "whole")
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*.arrow")} == written
    assert manifest_of(out).findings.keys() >= {"equal_images", "box_partly_outside"}
    assert "already converted" in run_convert(*words[2:], "3/3").stdout


def test_the_end_writes_what_shares_have_not(source: Path, tmp_path: Path) -> None:
    """A share that never ran, one whose shards are lost, one of an earlier state of the source."""
    convert_into(tmp_path / "whole", CONFIG, source)
    out = tmp_path / "out"
    convert_into(out, CONFIG, source, share=Share(1, 3))
    next(out.glob("*.arrow")).unlink()
    convert_into(out, CONFIG | {"max_pixels": 10**6}, source, share=Share(3, 3))
    convert_into(out, CONFIG, source)
    assert file_hashes(out) == file_hashes(tmp_path / "whole")


def test_a_share_stops_at_an_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"error 1 of .*findings.json"):
        convert_into(tmp_path / "out", {"shard_bytes": 40_000}, source, share=Share(1, 2))


def test_a_share_leaves_other_outputs_alone(source: Path, tmp_path: Path) -> None:
    convert_into(tmp_path / "out", CONFIG, source)
    before = file_hashes(tmp_path / "out")
    with pytest.raises(OwnershipError, match="holds another data set"):
        convert_into(tmp_path / "out", CONFIG | {"crowd": "object"}, source, share=Share(1, 2))
    assert file_hashes(tmp_path / "out") == before


def test_an_abandoned_share_is_garbage(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_into(out, CONFIG, source, share=Share(2, 2))
    files = {str(path) for path in out.iterdir()}
    found = gc.run(LocalDirectory(out), is_removed=True, abandoned_seconds=-60)
    assert {each.uri for each in found} == files
    assert not list(out.iterdir())


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", ""])
def test_a_share_is_one_of_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="expected I/N with 1 <= I <= N, for example 2/8"):
        Share.parse(text)
