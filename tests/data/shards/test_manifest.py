"""The manifest: what readers trust, and what they reject."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import (
    Shard,
    Split,
    content_digest,
    listing_key,
    make_manifest,
    read_manifest,
    write_manifest,
)
from ssd_core.data.sources.base import SourceFile
from ssd_core.errors import DataError, UsageError
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo

SHARD = Shard(name="train-00000.arrow", num_bytes=10, rows=2, sha256="ab")
CLASSES = (ClassInfo(label=1, name="cat", category_id=17),)
SPLIT = Split(images=2, boxes=3, max_boxes=2, shards=(SHARD,))
MANIFEST = make_manifest(
    ConvertConfig(),
    source={"uri": "x"},
    classes=CLASSES,
    splits={"train": SPLIT},
    findings={},
    listing_key="k",
)


@pytest.mark.parametrize("folder", ["", "shards-0123456789abcdef/"], ids=["disk", "store"])
def test_a_written_manifest_is_read_back(tmp_path: Path, folder: str) -> None:
    written = MANIFEST.rename_shards(lambda name: folder + name)
    write_manifest(tmp_path, written)
    assert read_manifest(LocalDirectory(tmp_path)) == written


def test_a_manifest_of_an_earlier_converter_is_read(tmp_path: Path) -> None:
    digest = content_digest(CLASSES, MANIFEST.splits, MANIFEST.options, version=1)
    earlier = MANIFEST.model_copy(update={"digest": digest})
    write_manifest(tmp_path, earlier)
    assert read_manifest(LocalDirectory(tmp_path)) == earlier


def test_a_missing_manifest_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no converted data set: manifest.json is missing"):
        read_manifest(LocalDirectory(tmp_path))


def cut(text: str) -> str:
    return text[: len(text) // 2]


def change(key: str, value: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | {key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is not JSON"),
        (lambda _: "[" * 100_000, "is not JSON"),
        (lambda text: text.replace('"boxes": 3', f'"boxes": {"1" * 5000}'), "is not JSON"),
        (lambda _: "[]", "schema version None, this program reads 1"),
        (change("schema_version", 2), "schema version 2, this program reads 1"),
        (change("splits", {"train": {"images": 1}}), r"splits.train.boxes is missing"),
        (lambda text: text.replace("train-00000", "../train-00000"), "0.name: .*leaves the data"),
        (lambda text: text.replace("train-00000", "/train-00000"), "0.name: .*leaves the data set"),
        (change("colour", "blue"), "colour: extra inputs are not permitted"),
        (change("classes", [{"label": 1}]), "classes.0.name is missing"),
        (
            lambda text: text.replace('"label"', '"colour": 1, "label"'),
            "classes.0.colour: unexpected keyword argument",
        ),
        (
            lambda text: text.replace('"cat"', '"dog"'),
            "was changed: its content does not give its dig",
        ),
        (lambda text: text.replace('"max_boxes": 2', '"max_boxes": 3'), "was changed"),
        (lambda text: text.replace('"auto"', '"voc"'), "was changed"),
        (change("format", "mindrecord"), "was changed"),
        (lambda text: text.replace('"images": 2', '"images": 9'), "train: 9 images, but its sha"),
    ],
)
def test_the_message_names_the_damage(
    tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=message):
        read_manifest(LocalDirectory(tmp_path))


def test_the_digest_depends_on_content_and_options() -> None:
    digest = content_digest(CLASSES, {"train": SPLIT}, {"format": "auto"})
    assert digest == content_digest(CLASSES, {"train": SPLIT}, {"format": "auto"})
    other_shard = SPLIT.model_copy(update={"shards": (SHARD.model_copy(update={"sha256": "ac"}),)})
    others = [
        content_digest(CLASSES, {"train": other_shard}, {"format": "auto"}),
        content_digest(CLASSES, {"train": SPLIT}, {"format": "coco"}),
        content_digest((), {"train": SPLIT}, {"format": "auto"}),
    ]
    assert len({digest, *others}) == 4


def test_the_listing_key_depends_on_paths_sizes_times_and_options() -> None:
    file = SourceFile(1, "2")
    other_files = [{"b": file}, {"a": SourceFile(2, "2")}, {"a": SourceFile(1, "3")}]
    keys = {listing_key(files, {}) for files in ({"a": file}, {"a": file}, *other_files)}
    assert len(keys | {listing_key({"a": file}, {"policy": "skip"})}) == 5
