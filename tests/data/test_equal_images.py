"""Equal images under several names."""

from pathlib import Path

import pytest

from ssd_core.data.equal_images import SeenImage, report_equal_images, take_fingerprint
from ssd_core.data.findings import Findings
from ssd_core.data.folder_source import FolderSource

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
    report_equal_images(FolderSource(tmp_path), seen, findings)
    assert [
        (finding.code, finding.image, f"{first}.jpg" in finding.detail)
        for finding, (_, _, first) in zip(findings.listed, expected, strict=True)
    ] == [(code, f"{name}.jpg", True) for code, name, _ in expected]
    assert not findings.stops


def test_fingerprints_see_what_cameras_change() -> None:
    prints = {name: take_fingerprint(memoryview(content)) for name, content in CONTENTS.items()}
    assert prints["a.jpg"] == prints["b.jpg"] == prints["start.jpg"]
    assert len(set(prints.values())) == 4
