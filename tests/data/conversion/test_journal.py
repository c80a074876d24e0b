"""The journal keeps finished shards that are still right, and nothing else."""

from pathlib import Path

import pytest

from ssd_core.config import SplitName
from ssd_core.data.conversion.journal import JOURNAL_FILE, Entry, Journal
from ssd_core.data.findings import Findings
from ssd_core.data.shards.manifest import Shard
from ssd_core.store.local import file_sha256


def entry(out_dir: Path, index: int, split: SplitName = "train") -> Entry:
    path = out_dir / f"{split}-{index:05d}.arrow"
    path.write_bytes(bytes([index]) * 100)
    shard = Shard(name=path.name, num_bytes=100, rows=2, sha256=file_sha256(path))
    findings = Findings("repair")
    place = "two\u2028lines\x85.xml"  # which Python would split, but JSON does not escape
    findings.add("box_outside", place, "detail", count=index + 1)
    return Entry(
        split=split,
        index=index,
        shards=(shard,),
        boxes=3,
        max_boxes=2,
        fingerprints=(7, 0, 2**63),
        counts=findings.counts,
        findings=findings.listed,
    )


def kept(out_dir: Path, key: str = "key") -> list[tuple[str, int]]:
    """Return which of the entries below a journal opened now would keep."""
    journal = Journal(out_dir, key)
    places = [("train", 0), ("train", 1), ("train", 2), ("val", 0)]
    return [(split, index) for split, index in places if journal.find(split, index)]


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    journal = Journal(tmp_path, "key")
    made = [entry(tmp_path, 0), entry(tmp_path, 1), entry(tmp_path, 2), entry(tmp_path, 0, "val")]
    for item in made:
        journal.add(item)
    return made


def test_a_rerun_finds_what_was_finished(tmp_path: Path, entries: list[Entry]) -> None:
    for _ in range(2):  # opening it changes nothing
        journal = Journal(tmp_path, "key")
        assert [journal.find(item.split, item.index) for item in entries] == entries
        assert journal.find("val", 1) is None


def test_another_key_starts_anew(tmp_path: Path, entries: list[Entry]) -> None:
    assert kept(tmp_path, "other") == []
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_only_what_is_not_right_is_packed_again(
    tmp_path: Path, entries: list[Entry], damage: str
) -> None:
    path = tmp_path / "train-00001.arrow"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * (100 if damage == "changed" else 99))
    assert kept(tmp_path) == [("train", 0), ("train", 2), ("val", 0)]


def test_a_part_whose_images_were_all_dropped_is_kept(tmp_path: Path) -> None:
    empty = entry(tmp_path, 0).model_copy(update={"shards": ()})
    Journal(tmp_path, "key").add(empty)
    assert Journal(tmp_path, "key").find("train", 0) == empty


def test_a_line_cut_off_by_a_kill_is_ignored(tmp_path: Path, entries: list[Entry]) -> None:
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-20])
    journal = Journal(tmp_path, "key")
    assert journal.find("train", 2) == entries[2]
    assert journal.find("val", 0) is None
    journal.add(entries[3])
    assert Journal(tmp_path, "key").find("val", 0) == entries[3]


def test_a_journal_that_is_no_text_is_ignored(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_FILE).write_bytes(b"\xff\xfe\0")
    assert kept(tmp_path) == []
