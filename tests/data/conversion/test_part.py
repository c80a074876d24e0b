"""The images of a part, and an image that changes while the part is packed."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.conversion.part import Conversion, Part, pack_part, plan_parts
from ssd_core.data.formats.classes import ClassChoice
from ssd_core.data.formats.dataset import ImageEntry, ParsedSplit, SourceDataset, assemble_split
from ssd_core.data.sources.folder import FolderSource
from ssd_core.store import LocalDirectory

SIZES = {"a": 10, "b": 25, "c": 5, "d": 30, "e": 1}


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    (tmp_path / "source").mkdir()
    for name, size in SIZES.items():
        (tmp_path / "source" / name).write_bytes(b"x" * size)
    return FolderSource(tmp_path / "source")


def make_dataset(names: Iterable[str] = SIZES) -> SourceDataset:
    images = [(ImageEntry(i, name, 0, 0, name), []) for i, name in enumerate(names)]
    split = assemble_split(ParsedSplit("list", 5, images), ClassChoice((), {}))
    return SourceDataset(format="txt", classes=(), splits={"train": split})


def convert(source: FolderSource, out_dir: Path, **changes: object) -> Conversion:
    config = ConvertConfig.model_validate({"shard_bytes": 30, "policy": "repair"} | changes)
    target = LocalDirectory(out_dir)
    return Conversion(
        source=source, config=config, out_dir=out_dir, target=target, listing_key="key"
    )


@pytest.mark.parametrize(
    ("names", "changes", "parts"),
    [
        ("abcde", {}, [range(2), range(2, 4), range(4, 5)]),
        ("bd", {}, [range(2)]),
        ("dbe", {}, [range(1), range(1, 3)]),
        ("", {}, []),
        ("abcde", {"shards": "mindrecord"}, [range(5)]),
    ],
)
def test_a_part_ends_when_its_files_reach_the_size(
    source: FolderSource,
    tmp_path: Path,
    names: str,
    changes: dict[str, object],
    parts: list[range],
) -> None:
    found = plan_parts(convert(source, tmp_path, **changes), make_dataset(names))
    assert [part.positions for part in found] == parts
    assert [part.index for part in found] == list(range(len(parts)))


@pytest.mark.parametrize("content", [b"", b"x" * 11])
def test_an_image_that_changed_since_the_listing_gives_a_finding(
    source: FolderSource, tmp_path: Path, content: bytes
) -> None:
    assert source.files
    (tmp_path / "source" / "a").write_bytes(content)
    images = make_dataset().splits["train"].select([0])
    part = Part(split="train", index=0, positions=range(1))
    packed = pack_part(convert(source, tmp_path / "out"), part, images)
    assert packed.counts == {"image_unreadable": 1}
    assert "changed while it was read" in packed.findings[0].detail
    assert packed.shards == ()
