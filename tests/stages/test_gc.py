"""What may be removed, and what never is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.data.conversion.journal import Journal, PackedPart
from ssd_core.data.conversion.ownership import find_strays, lock_dataset
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import UsageError
from ssd_core.stages import gc
from ssd_core.store import LocalDirectory

SSD = Path(sys.executable).with_name("ssd")


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


@pytest.fixture
def root(bccd_shards: Path, tmp_path: Path) -> Path:
    """Return a root with a whole data set, an unfinished one, and outputs of other steps."""
    whole, unfinished = tmp_path / "root/datasets/whole", tmp_path / "root/datasets/unfinished"
    shutil.copytree(bccd_shards, whole)
    for name in ("train-00007.arrow", ".partial-val-00000.arrow-x", "journal.jsonl"):
        (whole / name).write_bytes(b"12345")
    (whole / ".partial-folder").mkdir()
    (whole / ".partial-folder/inside").write_bytes(b"123")
    (whole / "notes.txt").touch()
    (whole / "mine.arrow").touch()
    unfinished.mkdir()
    for name in ("train-00000.arrow", "journal.jsonl", "findings.json"):
        (unfinished / name).touch()
    training = tmp_path / "root/training/id"
    training.mkdir(parents=True)
    (training / ".partial-young").touch()
    (training / ".partial-old").touch()
    os.utime(training / ".partial-old", (0, 0))
    return tmp_path / "root"


GARBAGE = {
    "datasets/whole/train-00007.arrow": 5,
    "datasets/whole/.partial-val-00000.arrow-x": 5,
    "datasets/whole/.partial-folder": 3,
    "datasets/whole/journal.jsonl": 5,
    "datasets/unfinished/train-00000.arrow": 0,
    "datasets/unfinished/journal.jsonl": 0,
    "training/id/.partial-old": 0,
}


def found(root: Path, *, is_removed: bool) -> dict[str, int]:
    return {
        Path(garbage.place).relative_to(root).as_posix(): garbage.num_bytes
        for garbage in gc.run(LocalDirectory(root), is_removed=is_removed)
    }


def test_listing_changes_nothing(root: Path) -> None:
    before = names(root)
    assert found(root, is_removed=False) == GARBAGE
    assert names(root) == before


def test_garbage_goes_and_everything_else_stays(root: Path) -> None:
    before = names(root)
    assert found(root, is_removed=True) == GARBAGE
    assert names(root) == before - set(GARBAGE) - {"datasets/whole/.partial-folder/inside"}
    assert open_split(LocalDirectory(root / "datasets/whole"), "train").num_images == 100
    assert found(root, is_removed=False) == {}


def test_a_data_set_in_use_is_left_alone(root: Path) -> None:
    with lock_dataset(root / "datasets/whole"):
        garbage = found(root, is_removed=True)
    assert garbage == {k: v for k, v in GARBAGE.items() if not k.startswith("datasets/whole")}
    assert (root / "datasets/whole/train-00007.arrow").exists()


def test_a_manifest_that_cannot_be_read_protects_its_shards(root: Path) -> None:
    (root / "datasets/whole/manifest.json").write_text("{")
    assert found(root / "datasets/whole", is_removed=True) == {}


def test_strays_without_a_manifest_are_all_shards(root: Path) -> None:
    paths = find_strays(root / "datasets/whole", None)
    assert "val-00000.arrow" in {path.name for path in paths}
    assert not {"mine.arrow", "notes.txt"} & {path.name for path in paths}


def test_shards_are_strays_by_their_journal_not_by_a_name_that_others_use(tmp_path: Path) -> None:
    for name in ("ssd.mindrecord0", "ssd.mindrecord0.db", "ssd_eval.mindrecord0"):
        (tmp_path / name).write_bytes(b"12")
    shard = Shard(name="ssd.mindrecord0", num_bytes=2, rows=1, sha256="ab")
    part = PackedPart(
        split="train",
        index=0,
        shards=(shard,),
        boxes=0,
        max_boxes=0,
        fingerprints=(),
        counts={},
        findings=[],
    )
    Journal(tmp_path, "key").add(part)
    assert found(tmp_path, is_removed=False) == {
        "journal.jsonl": (tmp_path / "journal.jsonl").stat().st_size,
        "ssd.mindrecord0": 2,
    }


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        list(gc.run(LocalDirectory(tmp_path / "nowhere"), is_removed=False))


def test_the_command(root: Path) -> None:
    done = subprocess.run([SSD, "gc", root, "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"           5 {root}/datasets/whole/train-00007.arrow\n" in done.stdout
    assert "would remove 7 with 0.0 MB" in done.stdout
    done = subprocess.run([SSD, "gc", root], capture_output=True, text=True)
    assert "removed 7 with" in done.stdout
    done = subprocess.run([SSD, "gc", root], capture_output=True, text=True)
    assert done.stdout == "nothing to remove\n"


def test_a_place_by_its_uri(tmp_path: Path) -> None:
    done = subprocess.run([SSD, "gc", "gs://bucket/prefix"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "'gs://…' cannot be used here; expected a path, file:// or s3://" in done.stderr
    done = subprocess.run([SSD, "gc", f"file://{tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
