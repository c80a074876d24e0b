"""Equal images under several names, and the look of an image: the same after saving and scaling."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from ssd_core.data.checking.duplicates import (
    SeenImage,
    find_near_images,
    report_equal_images,
    take_fingerprint,
    take_look,
)
from ssd_core.data.findings import Findings
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError
from tests.data.image_corpus import GOOD, save

SAME = b"s" * 20_000
CONTENTS = {
    "a.jpg": SAME,
    "b.jpg": SAME,
    "c.jpg": SAME,
    "start.jpg": b"x" + SAME[1:],  # has the same fingerprint
    "end.jpg": SAME[:-1] + b"x",
    "long.jpg": SAME + b"s",
    "empty.jpg": b"",
}


@pytest.mark.parametrize(
    ("train", "val", "expected"),
    [
        (["a", "start", "end", "long", "empty"], [], []),
        (["a", "b", "c"], [], [("equal_images", "b", "a"), ("equal_images", "c", "a")]),
        (["a"], ["b"], [("equal_images_in_both_splits", "b", "a")]),
        (["a"], ["a"], []),
        (
            ["a", "b"],
            ["c"],
            [("equal_images", "b", "a"), ("equal_images_in_both_splits", "c", "a")],
        ),
        (["start"], ["a", "b"], [("equal_images", "b", "a")]),
        (["a"], ["b", "gone"], [("equal_images_in_both_splits", "b", "a")]),
    ],
)
def test_equal_images(
    tmp_path: Path, train: list[str], val: list[str], expected: list[tuple[str, str, str]]
) -> None:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    names = [("train", name) for name in train] + [("val", name) for name in val]
    seen = [
        SeenImage(
            split,  # type: ignore[arg-type]
            f"{name}.jpg",
            take_fingerprint(memoryview(CONTENTS.get(f"{name}.jpg", SAME))),
        )
        for split, name in names
    ]
    findings = Findings("strict")
    source = FolderSource(tmp_path)
    report_equal_images(lambda image: source.read(image.path), seen, findings)
    assert [
        (finding.code, finding.image, f"{first}.jpg" in finding.detail)
        for finding, (_, _, first) in zip(findings.listed, expected, strict=True)
    ] == [(code, f"{name}.jpg", True) for code, name, _ in expected]
    assert not findings.stops


def test_fingerprints_see_what_cameras_change() -> None:
    prints = {name: take_fingerprint(memoryview(content)) for name, content in CONTENTS.items()}
    assert prints["a.jpg"] == prints["b.jpg"] == prints["start.jpg"]
    assert len(set(prints.values())) == 4


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "saved again": lambda image: save(image, "JPEG", quality=60),
    "another format": lambda image: save(image),
    "half the size": lambda image: save(
        image.resize((image.width // 2, image.height // 2)), "JPEG"
    ),
    "twice the size": lambda image: save(image.resize((image.width * 2, image.height * 2)), "JPEG"),
    "squeezed": lambda image: save(image.resize((300, 300)), "JPEG"),
    "brighter": lambda image: save(ImageEnhance.Brightness(image).enhance(1.15), "JPEG"),
}


@pytest.fixture(scope="module")
def photographs(bccd_dir: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((bccd_dir / "JPEGImages").iterdir())]


def test_no_two_photographs_look_the_same(photographs: list[bytes]) -> None:
    assert find_near_images([take_look(photo) for photo in photographs]) == []


@pytest.mark.parametrize("change", CHANGES)
def test_changed_photographs_are_found(photographs: list[bytes], change: str) -> None:
    photos = photographs[:20]
    changed = [CHANGES[change](Image.open(io.BytesIO(photo))) for photo in photos]
    groups = find_near_images([take_look(image) for image in [*photos, *changed]])
    assert all(group == [group[0], group[0] + 20] for group in groups)
    assert len(groups) >= 18


def test_every_image_has_a_look() -> None:
    for make in GOOD.values():
        assert len(take_look(make())) == 32
    with pytest.raises(DataError):
        take_look(b"no image")


def test_groups_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (60, 256), np.uint8)
    for row in range(30, 60):  # a row before, with up to 40 bits changed
        bits[row] = bits[rng.integers(row)]
        bits[row, rng.permutation(256)[: rng.integers(40)]] ^= 1
    near = (bits[:, None] != bits).sum(axis=2) <= 20
    for _ in range(6):
        near = near @ near
    expected = {tuple(np.flatnonzero(row).tolist()) for row in near if row.sum() > 1}
    looks = [np.packbits(row).tobytes() for row in bits]
    assert {tuple(group) for group in find_near_images(looks)} == expected
    assert len(expected) > 3
    assert find_near_images([b"", *looks[:1], b""]) == []
    assert find_near_images([]) == []
