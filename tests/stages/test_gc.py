"""Files that `ssd gc` removes, and files that it keeps."""

import os
import shutil
from pathlib import Path

import pytest

from ssd_core.data.conversion.journal import Journal, PackedPart
from ssd_core.data.conversion.ownership import find_strays, lock_dataset
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import UsageError
from ssd_core.stages import gc
from ssd_core.store import LocalDirectory
from tests.processes import run_ssd


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


@pytest.fixture
def root(bccd_shards: Path, tmp_path: Path) -> Path:
    """Return a root with a complete data set, an unfinished one, and the output of a training."""
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
        Path(garbage.uri).relative_to(root).as_posix(): garbage.num_bytes
        for garbage in gc.run(LocalDirectory(root), is_removed=is_removed)
    }


def test_listing_changes_nothing(root: Path) -> None:
    before = names(root)
    assert found(root, is_removed=False) == GARBAGE
    assert names(root) == before


def test_garbage_is_removed_and_everything_else_stays(root: Path) -> None:
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


def test_an_unreadable_manifest_protects_its_shards(root: Path) -> None:
    (root / "datasets/whole/manifest.json").write_text("{")
    assert found(root / "datasets/whole", is_removed=True) == {}


def test_without_a_manifest_all_shards_are_strays(root: Path) -> None:
    paths = find_strays(root / "datasets/whole", None)
    assert "val-00000.arrow" in {path.name for path in paths}
    assert not {"mine.arrow", "notes.txt"} & {path.name for path in paths}


def test_mindrecord_shards_are_strays_only_if_the_journal_lists_them(tmp_path: Path) -> None:
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


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the directory does not exist"):
        list(gc.run(LocalDirectory(tmp_path / "nowhere"), is_removed=False))


def test_the_command(root: Path) -> None:
    done = run_ssd("gc", root, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"           5 {root}/datasets/whole/train-00007.arrow\n" in done.stdout
    assert "would remove 7 (0.0 MB)" in done.stdout
    assert "removed 7 (" in run_ssd("gc", root).stdout
    assert run_ssd("gc", f"file://{root}").stdout == "nothing to remove\n"


def test_an_unknown_scheme_is_refused() -> None:
    done = run_ssd("gc", "gs://bucket/prefix")
    assert done.returncode == 2
    assert "'gs://…' is not supported here; expected a path, file:// or s3://" in done.stderr
