"""Read data sets as docs/file-formats.md describes, with exactly the code of that page."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.datasets import convert_into, names_in, voc_objects

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "file-formats.md").read_text()

SHOW = """
import sys
shown = []
for row in {reader}(sys.argv[1], sys.argv[2]):
    image = row.pop("image")
    image = image if isinstance(image, bytes) else image.tobytes()
    plain = {{k: v if isinstance(v, (int, str, list)) else v.tolist() for k, v in row.items()}}
    shown.append(plain | {{"sha256": __import__("hashlib").sha256(image).hexdigest()}})
assert not [name for name in sys.modules if name.startswith("ssd_core")]
print(json.dumps(shown))
"""


def read_by_the_page(reader: str, data_dir: Path, split: str) -> list[dict[str, Any]]:
    """Run the code block of the page that defines `reader` in an interpreter of its own."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (block,) = [text for text in blocks if f"def {reader}(" in text]
    done = subprocess.run(
        [sys.executable, "-c", block + SHOW.format(reader=reader), data_dir, split],
        cwd=data_dir,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("split", ["train", "val"])
def test_arrow_with_plain_pyarrow(few_images: Path, tmp_path: Path, split: str) -> None:
    convert_into(tmp_path, {"shard_bytes": 40_000}, few_images)
    rows = read_by_the_page("read_arrow", tmp_path, split)
    for name, row in zip(names_in(few_images, split), rows, strict=True):
        assert row["sha256"] == sha256(few_images / f"JPEGImages/{name}.jpg")
        objects = voc_objects(few_images / f"Annotations/{name}.xml")
        assert row["boxes"] == [box for _, box in objects]
        assert row["image_path"] == f"JPEGImages/{name}.jpg"
        assert (row["width"], row["height"]) == (640, 480)
    assert set(rows[0]) == {"sha256", *columns_of("## Arrow shards")} - {"image"}


@pytest.mark.mindspore
def test_mindrecord_with_plain_mindspore(few_images: Path, tmp_path: Path) -> None:
    convert_into(tmp_path, {"shards": "mindrecord"}, few_images)
    rows = read_by_the_page("read_mindrecord", tmp_path, "train")
    for name, row in zip(names_in(few_images, "train"), rows, strict=True):
        assert row["sha256"] == sha256(few_images / f"JPEGImages/{name}.jpg")
        objects = voc_objects(few_images / f"Annotations/{name}.xml")
        assert [item[:4] for item in row["annotation"]] == [
            [b, a, d, c] for _, (a, b, c, d) in objects
        ]


def columns_of(heading: str) -> set[str]:
    """Return the columns that the table under a heading of the page lists."""
    section = PAGE.partition(f"{heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_page_lists_all_columns() -> None:
    from ssd_core.data.shards import arrow
    from ssd_core.data.shards.mindrecord import format as mindrecord_format

    assert columns_of("## Arrow shards") == set(arrow.SCHEMA.names)
    assert columns_of("## MindRecord shards") == set(mindrecord_format.SCHEMA)


def test_the_page_lists_all_keys_of_the_manifest(bccd_shards: Path) -> None:
    manifest = json.loads((bccd_shards / "manifest.json").read_text())
    assert columns_of("## manifest.json") - {"shards"} == set(manifest)
    named = set(re.findall(r"`(\w+)`|\{([\w, ]+)\}", PAGE.partition("## manifest.json")[2]))
    words = {word for pair in named for part in pair for word in part.split(", ")}
    split = manifest["splits"]["train"]
    assert words >= {*split, *split["shards"][0], *manifest["classes"][0]}


def test_the_digest_is_what_the_page_says(bccd_shards: Path) -> None:
    (version,) = re.findall(r"`converter_version` \(at present (\d+)\)", PAGE)
    manifest = json.loads((bccd_shards / "manifest.json").read_text())
    content = {key: manifest[key] for key in ("classes", "splits", "options")}
    content["converter_version"] = int(version)
    text = json.dumps(content, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == manifest["digest"]
