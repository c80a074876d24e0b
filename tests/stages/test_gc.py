"""Files that `ssd gc` removes, and files that it keeps."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from ssd_core.data.conversion.journal import Journal, PackedPart
from ssd_core.data.conversion.ownership import lock_dataset
from ssd_core.data.shards.manifest import Shard
from ssd_core.data.shards.reader import open_split
from ssd_core.stages import gc
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import KnownFile
from tests.commands import call_ssd

KEY = "0123456789abcdef" * 4


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*")}


def make_old(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (0, 0))


def write_journal(directory: Path, shard_names: Iterable[str], key: str = KEY) -> None:
    """Write the journal of a killed conversion that lists these files."""
    journal = Journal(directory, key)
    for index, name in enumerate(shard_names):
        known = KnownFile.of(name, directory / name)
        part = PackedPart(
            split="train",
            index=index,
            shards=(Shard(name=name, num_bytes=known.num_bytes, sha256=known.sha256, rows=1),),
            boxes=0,
            max_boxes=0,
            fingerprints=(),
            counts={},
            findings=[],
        )
        journal.add(part)


@pytest.fixture
def root(bccd_shards: Path, tmp_path: Path) -> Path:
    """Return a root with a complete data set, an unfinished one, and the output of a training."""
    whole, unfinished = tmp_path / "root/datasets/whole", tmp_path / "root/datasets/unfinished"
    shutil.copytree(bccd_shards, whole)
    for name in ("train-00007.arrow", "train-00008.arrow", ".partial-val-00000.arrow-x"):
        (whole / name).write_bytes(b"12345")
    (whole / ".partial-folder").mkdir()
    (whole / ".partial-folder/inside").write_bytes(b"123")
    (whole / "notes.txt").touch()
    write_journal(whole, ["train-00000.arrow", "train-00007.arrow"])
    unfinished.mkdir()
    for name in ("train-00000.arrow", "ssd.mindrecord0", "ssd.mindrecord0.db", "findings.json"):
        (unfinished / name).write_bytes(b"12")
    write_journal(unfinished, ["train-00000.arrow", "ssd.mindrecord0", "ssd.mindrecord0.db"])
    (tmp_path / "root/training/id").mkdir(parents=True)
    (tmp_path / "root/training/id/.partial-old").touch()
    make_old(tmp_path / "root")
    (tmp_path / "root/training/id/.partial-young").touch()
    return tmp_path / "root"


GARBAGE = {
    "datasets/whole/train-00007.arrow": 5,
    "datasets/whole/.partial-val-00000.arrow-x": 5,
    "datasets/whole/.partial-folder": 3,
    "datasets/whole/journal.jsonl": None,
    "datasets/unfinished/train-00000.arrow": 2,
    "datasets/unfinished/ssd.mindrecord0": 2,
    "datasets/unfinished/ssd.mindrecord0.db": 2,
    "datasets/unfinished/journal.jsonl": None,
    "training/id/.partial-old": 0,
}


def found(root: Path, *, is_removed: bool) -> dict[str, int | None]:
    """Return the sizes of the garbage; None for a journal."""
    paths = {
        Path(garbage.uri).relative_to(root).as_posix(): garbage.num_bytes
        for garbage in gc.run(LocalDirectory(root), is_removed=is_removed)
    }
    return {key: None if key.endswith(".jsonl") else size for key, size in paths.items()}


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


@pytest.mark.parametrize("name", ["train-00007.arrow", "journal.jsonl"])
def test_a_young_file_protects_all_that_its_journal_names(root: Path, name: str) -> None:
    (root / "datasets/whole" / name).touch()
    assert found(root / "datasets/whole", is_removed=True).keys() == {
        ".partial-val-00000.arrow-x",
        ".partial-folder",
    }


NOT_OURS = {
    "another program's": '{"day": 1, "text": "mine"}\n',
    "another key": '"key"\n',
    "another line": f'"{KEY}"\n{{"day": 1}}\n',
    "two incomplete lines": f'"{KEY}"\n{{"split"\n{{"split"',
    "empty": "",
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS)
def test_a_journal_that_no_conversion_wrote_owns_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "journal.jsonl").write_text(content)
    (tmp_path / "train-00000.arrow").write_bytes(b"mine")
    make_old(tmp_path)
    assert found(tmp_path, is_removed=True) == {}


def test_a_journal_owns_only_the_files_that_it_describes(tmp_path: Path) -> None:
    """A copied journal lies beside files of others, a forged one names them."""
    copied, forged = tmp_path / "copied", tmp_path / "forged"
    for folder, name in ((copied, "train-00000.arrow"), (forged, "important.txt")):
        folder.mkdir()
        (folder / name).write_bytes(b"mine")
        write_journal(folder, [name])
    (copied / "train-00000.arrow").write_bytes(b"ours")
    make_old(tmp_path)
    assert found(tmp_path, is_removed=True) == {"copied/journal.jsonl": None}
    assert (copied / "train-00000.arrow").exists()


def test_the_last_line_of_a_killed_conversion_may_be_incomplete(root: Path) -> None:
    with (root / "datasets/unfinished/journal.jsonl").open("a") as journal:
        journal.write(json.dumps({"split": "train"})[:-1])
    make_old(root)
    assert len(found(root / "datasets/unfinished", is_removed=True)) == 4


def test_the_command(root: Path) -> None:
    done = call_ssd("gc", root, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"           5 {root}/datasets/whole/train-00007.arrow\n" in done.stdout
    assert "would remove 9 (0.0 MB)" in done.stdout
    assert "removed 9 (" in call_ssd("gc", root).stdout
    assert call_ssd("gc", f"file://{root}").stdout == "nothing to remove\n"
