"""Model directories: whole, damaged and incomplete ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import read_description, read_model, write_model
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from tests.small_model import describe_model

CLASSES = (
    ClassInfo(label=1, name="red cell", category_id=7),
    ClassInfo(label=2, name="Zelle ß", category_id=90),
)
WEIGHTS = {"head.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "count": np.array(3)}
DESCRIPTION = describe_model(num_classes=2, step=800)
FILES = ("config.json", "classes.json", "weights.safetensors")


@pytest.fixture
def out_dir(tmp_path: Path) -> Path:
    write_model(LocalDirectory(tmp_path / "model"), DESCRIPTION, CLASSES, WEIGHTS)
    return tmp_path


@pytest.mark.parametrize("place", [".", "model"])
def test_what_is_written_is_read(out_dir: Path, place: str) -> None:
    model = read_model(LocalDirectory(out_dir / place))
    assert model.classes == CLASSES
    assert model.description.model_copy(update={"files": ()}) == DESCRIPTION
    assert model.weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert model.weights[name].dtype == array.dtype
        assert np.array_equal(model.weights[name], array)
    assert read_description(LocalDirectory(out_dir / place)) == model.description


def test_the_directory_holds_three_files(out_dir: Path) -> None:
    assert sorted(path.name for path in (out_dir / "model").iterdir()) == sorted(FILES)
    files = json.loads((out_dir / "model" / "config.json").read_text())["files"]
    assert {file["name"]: file["bytes"] for file in files} == {
        name: (out_dir / "model" / name).stat().st_size for name in FILES[1:]
    }


def test_writing_again_replaces_the_model(out_dir: Path) -> None:
    write_model(LocalDirectory(out_dir / "model"), DESCRIPTION, CLASSES, {"count": np.array(4)})
    assert read_model(LocalDirectory(out_dir)).weights == {"count": np.array(4)}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_remedy(out_dir: Path, name: str) -> None:
    (out_dir / "model" / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing; the model is incomplete: repeat"):
        read_model(LocalDirectory(out_dir))


def test_a_place_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config.json is missing; the model is incomplete"):
        read_model(LocalDirectory(tmp_path))
    with pytest.raises(UsageError, match="nowhere: no such model directory"):
        read_model(LocalDirectory(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="nowhere: no such model directory"):
        read_description(LocalDirectory(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", FILES[1:])
def test_every_damage_is_noticed(out_dir: Path, name: str) -> None:
    path = out_dir / "model" / name
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        for damaged in (bytes(flipped), content[:position]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=f"{name} is damaged"):
                read_model(LocalDirectory(out_dir))


def test_a_cut_description_is_noticed(out_dir: Path) -> None:
    path = out_dir / "model" / "config.json"
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"config\.json: invalid json"):
            read_model(LocalDirectory(out_dir))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 1, "config.json: format_version: input should be 2"),
        ("colour", "red", "config.json: colour: extra inputs"),
        ("files", [], "config.json does not list classes.json"),
        ("num_classes", 3, "classes.json: expected the labels 1..3"),
    ],
)
def test_a_wrong_description_is_explained(
    out_dir: Path, key: str, value: object, message: str
) -> None:
    path = out_dir / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=message):
        read_model(LocalDirectory(out_dir))
