"""The journal keeps finished parts whose shards are intact, and nothing else."""

from pathlib import Path

import pytest

from ssd_core.config import SplitName
from ssd_core.data.conversion.journal import Journal, PackedPart, journal_name
from ssd_core.data.findings import Findings
from ssd_core.data.shards.manifest import Shard
from ssd_core.store.local import file_sha256


def make_part(out_dir: Path, index: int, split: SplitName = "train") -> PackedPart:
    path = out_dir / f"{split}-{index:05d}.arrow"
    path.write_bytes(bytes([index]) * 100)
    shard = Shard(name=path.name, num_bytes=100, rows=2, sha256=file_sha256(path))
    findings = Findings("repair")
    place = "two\u2028lines\x85.xml"  # str.splitlines would split this, but JSON does not escape it
    findings.add("box_outside", place, "detail", count=index + 1)
    return PackedPart(
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
    """Return which of the parts below a newly opened journal keeps."""
    journal = Journal(out_dir, key)
    places = [("train", 0), ("train", 1), ("train", 2), ("val", 0)]
    return [(split, index) for split, index in places if journal.find(split, index)]


@pytest.fixture
def parts(tmp_path: Path) -> list[PackedPart]:
    journal = Journal(tmp_path, "key")
    made = [*(make_part(tmp_path, index) for index in range(3)), make_part(tmp_path, 0, "val")]
    for part in made:
        journal.add(part)
    return made


@pytest.mark.usefixtures("parts")
def test_another_key_discards_everything(tmp_path: Path) -> None:
    assert kept(tmp_path, "other") == []
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
@pytest.mark.usefixtures("parts")
def test_a_part_with_a_damaged_shard_is_dropped(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train-00001.arrow"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * (100 if damage == "changed" else 99))
    assert kept(tmp_path) == [("train", 0), ("train", 2), ("val", 0)]


def test_a_part_whose_images_were_all_dropped_is_kept(tmp_path: Path) -> None:
    empty = make_part(tmp_path, 0).model_copy(update={"shards": ()})
    Journal(tmp_path, "key").add(empty)
    assert Journal(tmp_path, "key").find("train", 0) == empty


def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_can_be_continued(
    tmp_path: Path, parts: list[PackedPart]
) -> None:
    path = tmp_path / journal_name(None)
    content = path.read_bytes()
    for size in range(len(content), -1, -61):
        path.write_bytes(content[:size])
        journal = Journal(tmp_path, "key")
        lines, kept_lines = (text.split(b"\n")[1:] for text in (content, content[:size]))
        complete = sum(map(bytes.__eq__, lines[:4], kept_lines))
        found = [journal.find(part.split, part.index) for part in parts]
        assert found == [*parts[:complete], *[None] * (4 - complete)]
        for part in parts[complete:]:
            journal.add(part)
        assert path.read_bytes() == content


def test_a_journal_that_is_not_text_is_ignored(tmp_path: Path) -> None:
    (tmp_path / journal_name(None)).write_bytes(b"\xff\xfe\0")
    assert kept(tmp_path) == []
