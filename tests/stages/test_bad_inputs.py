"""Bad input from end to end: findings of `check`, errors of `strict`, images that `repair` keeps.

Each case damages a data set of four images once; the tests of readers and checks have more variants
of each. Warnings must convert under `strict`.
"""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ssd_core.config import ConvertConfig
from ssd_core.data.findings import RULES
from ssd_core.errors import DataError
from ssd_core.stages import check
from ssd_core.store import LocalDirectory
from tests.data.image_corpus import BAD, GOOD, JPEG, REMARKABLE, encode, exif_of
from tests.datasets import convert_into, manifest_of, split_of

Content = dict[str, Any]
NUM_IMAGES = 3


def good() -> Content:
    """Return annotations of three images with COCO's ids: one is 0, and there are gaps."""
    return {
        "images": [
            {"id": 10 * k, "file_name": f"{k}.png", "width": 20 + k, "height": 12}
            for k in range(NUM_IMAGES)
        ],
        "annotations": [
            {"id": k, "image_id": 10 * k, "category_id": 7, "bbox": [1, 2, 5 + k, 4], "area": 9}
            | {"iscrowd": 0}
            for k in range(NUM_IMAGES)
        ],
        "categories": [{"id": 7, "name": "cat"}],
    }


def write(folder: Path, content: Content) -> None:
    """Write the data set; its evaluation split is a fourth image."""
    folder.mkdir()
    for k in range(NUM_IMAGES):
        (folder / f"{k}.png").write_bytes(encode("PNG", size=(20 + k, 12)))
    (folder / "last.png").write_bytes(encode("PNG", size=(30, 12)))
    image = {"id": 1, "file_name": "last.png", "width": 30, "height": 12}
    row = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 5, 5], "area": 25}
    whole = {"images": [image], "annotations": [row | {"iscrowd": 0}]}
    categories = content.get("categories", good()["categories"])
    (folder / "val.json").write_text(json.dumps(whole | {"categories": categories}))
    (folder / "train.json").write_text(json.dumps(content))


class Case(NamedTuple):
    """One kind of bad input."""

    damage: Callable[[Path, Content], object]
    """Changes files or the training annotations, which it may also return as bytes."""
    found: dict[str, int]
    """Findings by code."""
    kept: int = NUM_IMAGES
    """Training images that `repair` keeps; 0 if `repair` fails too."""
    emptied: int = 0
    """Images that `repair` drops because it leaves out all their objects."""


def image(**changes: Any) -> Callable[[Path, Content], object]:
    return lambda _, content: content["images"][1].update(changes)


def entry(**changes: Any) -> Callable[[Path, Content], object]:
    return lambda _, content: content["annotations"][1].update(changes)


def without(part: str, key: str) -> Callable[[Path, Content], object]:
    return lambda _, content: content[part][1].pop(key)


def file(make: Callable[[], bytes]) -> Callable[[Path, Content], object]:
    """Replace an image; the annotations do not contain its size."""

    def damage(folder: Path, content: Content) -> None:
        (folder / "1.png").write_bytes(make())
        content["images"][1] |= {"width": 0, "height": 0}
        content["annotations"][1]["bbox"] = [0, 0, 1, 1]

    return damage


def text(change: Callable[[str], str | bytes]) -> Callable[[Path, Content], object]:
    def damage(_: Path, content: Content) -> bytes:
        changed = change(json.dumps(content))
        return changed if isinstance(changed, bytes) else changed.encode()

    return damage


def rename(name: str) -> Callable[[Path, Content], object]:
    return lambda folder, _: (folder / "1.png").rename(folder / name)


UNUSABLE = {"source_unusable": 1}
CASES: dict[str, Case] = {
    "nothing": Case(lambda *_: None, {}),
    # the file of annotations
    "truncated": Case(text(lambda t: t[:-40]), UNUSABLE, 0),
    "keys twice": Case(text(lambda t: t[:-1] + ', "images": []}'), UNUSABLE, 0),
    "byte order mark": Case(text(lambda t: b"\xef\xbb\xbf" + t.encode()), {}),
    "bad UTF-8": Case(text(lambda t: t.encode().replace(b"cat", b"c\xff")), UNUSABLE, 0),
    "NaN": Case(text(lambda t: t.replace("[1, 2", "[NaN, 2", 1)), {"box_not_finite": 1}, 2, 1),
    "no annotations": Case(lambda _, c: c.pop("annotations"), UNUSABLE, 0),
    # ids
    "id as a word": Case(image(id="a"), {"image_malformed": 1, "object_of_unknown_image": 1}, 2),
    "id as text": Case(image(id="10"), {"number_rewritten": 1}),
    "id with a point": Case(image(id=10.0), {"number_rewritten": 1}),
    "null": Case(lambda _, c: c["annotations"].append(None), {"object_malformed": 1}),
    "two images of one id": Case(
        image(id=0), {"image_id_twice": 2, "object_of_unknown_image": 1}, 1
    ),
    "two objects of one id": Case(entry(id=0), {"object_id_twice": 1}),
    "two categories of one id": Case(
        lambda _, c: c["categories"].append({"id": 7, "name": "dog"}), UNUSABLE, 0
    ),
    "two categories of one name": Case(
        lambda _, c: c["categories"].append({"id": 8, "name": "cat"}), {"class_name_twice": 1}
    ),
    "unknown image": Case(entry(image_id=11), {"object_of_unknown_image": 1}),
    "unknown category": Case(entry(category_id=8), {"class_unknown": 1}, 2, 1),
    # boxes
    "three numbers": Case(entry(bbox=[1, 2, 3]), {"object_malformed": 1}, 2, 1),
    "no bbox": Case(without("annotations", "bbox"), {"object_malformed": 1}, 2, 1),
    "no area": Case(entry(bbox=[1, 2, 4, 0]), {"box_without_area": 1}, 2, 1),
    "negative height": Case(entry(bbox=[1, 6, 4, -4]), {"box_corners_exchanged": 1}),
    "in fractions": Case(entry(bbox=[0.1, 0.2, 0.5, 0.5]), {"boxes_in_fractions": 1}),
    "outside": Case(entry(bbox=[30, 2, 4, 4]), {"box_outside": 1}),
    "an outline alone": Case(
        entry(bbox=None, segmentation=[[1, 2, 5, 2, 5, 9]]), {"box_from_outline": 1}
    ),
    "negative x": Case(entry(bbox=[-5, 2, 9, 4]), {"box_partly_outside": 1}),
    "rounded": Case(entry(bbox=[0, 0, 21.4, 12]), {"box_beyond_edge": 1}),
    "whole image": Case(entry(bbox=[0, 0, 21, 12]), {}),
    "corners": Case(
        lambda _, c: [a.update(bbox=[9, 4, 19, 9]) for a in c["annotations"]],
        {"boxes_may_be_corners": 3, "box_partly_outside": 3},
        0,
    ),
    "the same twice": Case(
        lambda _, c: c["annotations"].append(c["annotations"][1] | {"id": 9}), {"object_twice": 1}
    ),
    "area missing": Case(without("annotations", "area"), {}),
    "no iscrowd": Case(without("annotations", "iscrowd"), {}),
    "a crowd with a run-length mask": Case(
        entry(iscrowd=1, segmentation={"counts": [1, 2], "size": [10, 21]}), {}
    ),
    # names of images
    "image missing": Case(lambda f, _: (f / "1.png").unlink(), {"image_missing": 1}, 2),
    "image left over": Case(
        lambda f, _: (f / "more.png").write_bytes(encode("PNG", "L")), {"image_not_used": 1}
    ),
    "image is a folder": Case(
        lambda f, _: ((f / "1.png").unlink(), (f / "1.png").mkdir()), {"image_missing": 1}, 2
    ),
    "link to itself": Case(
        lambda f, _: ((f / "1.png").unlink(), (f / "1.png").symlink_to("1.png")),
        {"image_missing": 1, "file_not_read": 1},
        2,
    ),
    "link that leaves": Case(
        lambda f, _: ((f / "1.png").rename(f.parent / "x"), (f / "1.png").symlink_to("../x")),
        {"image_missing": 1, "file_not_read": 1},
        2,
    ),
    "other case": Case(rename("1.PNG"), {"image_name_differs": 1}),
    "other Unicode form": Case(
        lambda f, c: (
            (f / "1.png").rename(f / unicodedata.normalize("NFC", "ü.png")),
            c["images"][1].update(file_name=unicodedata.normalize("NFD", "ü.png")),
        ),
        {"image_name_differs": 1},
    ),
    **{
        f"named {name[:9]!r}": Case(
            lambda f, c, name=name: (  # type: ignore[misc]
                (f / "1.png").rename(f / name),
                c["images"][1].update(file_name=name),
            ),
            {},
        )
        for name in ("my cat.png", "a\nb.png", "x" * 251 + ".png")
    },
    **{
        f"named {name!r}": Case(
            image(file_name=name), {"image_path_unsafe": 1, "image_not_used": 1}, 2
        )
        for name in ("../1.png", "/etc/passwd", "C:\\1.png", "a\\1.png", "", "a\0.png")
    },
    "listed twice": Case(
        lambda _, c: c["images"].append(c["images"][1] | {"id": 99}), {"image_twice": 1}
    ),
    # contents of images
    "size differs": Case(image(width=10, height=21), {"image_size_differs": 1}, 2),
    "twice the size": Case(image(width=42, height=24), {"image_size_scaled": 1}),
    "size unknown": Case(image(width=None, height=None), {}),
    "half a size": Case(without("images", "width"), {}),
    "size as text": Case(image(width="21"), {"number_rewritten": 1}),
    "named .png, but JPEG": Case(file(lambda: JPEG), {}),
    "image: avif": Case(file(GOOD["avif"]), {}),
    **{
        f"image: jpeg, EXIF {k}": Case(
            file(lambda k=k: encode("JPEG", exif=exif_of(k))),  # type: ignore[misc]
            {"image_orientation": 1} if k > 1 else {},
        )
        for k in range(1, 9)
    },
    **{
        f"image: {name}": Case(file(REMARKABLE[name][0]), {REMARKABLE[name][1]: 1})
        for name in ("gif, animated", "png, 12 of 16 bits", "jpeg, no end marker")
    },
    **{
        f"image: {name}": Case(file(BAD[name][0]), {BAD[name][1]: 1}, 2)
        for name in ("empty", "text", "jpeg, header cut", "jpeg, bomb", "tiff, floats")
    },
    "copy in train": Case(
        lambda f, c: (
            (f / "1.png").write_bytes((f / "0.png").read_bytes()),
            c["images"][1].update(width=20),
        ),
        {"equal_images": 1},
    ),
    "copy in val": Case(
        lambda f, c: (
            (f / "1.png").write_bytes((f / "last.png").read_bytes()),
            c["images"][1].update(width=30),
        ),
        {"equal_images_in_both_splits": 1},
    ),
    "the same file in val": Case(
        lambda f, c: (
            c["images"][1].update(file_name="last.png", width=30),
            (f / "1.png").unlink(),
        ),
        {"image_in_both_splits": 1},
    ),
    # the whole
    "image without objects": Case(lambda _, c: c["annotations"].pop(1), {}),
    "class without objects": Case(
        lambda _, c: c["categories"].append({"id": 8, "name": "dog"}), {"class_without_objects": 1}
    ),
    "one image": Case(
        lambda _, c: c.update(images=c["images"][:1], annotations=c["annotations"][:1]),
        {"image_not_used": 2},
        1,
    ),
    "no image": Case(
        lambda _, c: c.update(images=[], annotations=[]),
        {"split_unusable": 1, "image_not_used": 3, "class_without_objects": 1},
        0,
    ),
    "no object": Case(
        lambda _, c: c.update(annotations=[]), {"split_unusable": 1, "class_without_objects": 1}, 0
    ),
    "only crowds": Case(
        lambda _, c: [a.update(iscrowd=1) for a in c["annotations"]], {"split_unusable": 1}, 0
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    folder, content = tmp_path / "source", good()
    write(folder, content)
    damaged = case.damage(folder, content)
    if "categories" in content:  # both splits must have the same categories
        val = json.loads((folder / "val.json").read_text())
        (folder / "val.json").write_text(json.dumps(val | {"categories": content["categories"]}))
    raw = damaged if isinstance(damaged, bytes) else json.dumps(content).encode()
    (folder / "train.json").write_bytes(raw)

    checked = check.run(ConvertConfig(), str(folder), LocalDirectory(tmp_path / "checked"))
    assert dict(checked.findings.counts) == case.found
    assert not [finding for finding in checked.findings.listed if "\n" in finding.detail]
    is_error = any(RULES[code].severity == "error" for code in case.found)
    if is_error:
        with pytest.raises(DataError) as caught:
            convert_into(tmp_path / "strict", {"decode_check": True}, folder)
        assert str(caught.value).isprintable()
        assert not (tmp_path / "strict/manifest.json").exists()
    config = {"decode_check": True, "policy": "repair" if is_error else "strict"}
    if not case.kept:
        with pytest.raises(DataError):
            convert_into(tmp_path / "out", config, folder)
        return
    convert_into(tmp_path / "out", config, folder)
    emptied = {"image_emptied": case.emptied} if case.emptied else {}
    assert manifest_of(tmp_path / "out").findings == case.found | emptied
    assert split_of(tmp_path / "out", "train").num_images == case.kept
