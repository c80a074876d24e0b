"""Model directories: complete, damaged and incomplete."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from ssd_core.errors import DataError, UsageError
from ssd_core.model_dir import read_description, read_model, write_description, write_model
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import KnownFile
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
def model_dir(tmp_path: Path) -> LocalDirectory:
    directory = LocalDirectory(tmp_path / "model")
    write_model(directory, DESCRIPTION, CLASSES, WEIGHTS)
    return directory


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_round_trip(model_dir: LocalDirectory, is_inside: bool) -> None:
    location = model_dir.parent if is_inside else model_dir
    model = read_model(location)
    assert model.classes == CLASSES
    assert model.description.model_copy(update={"files": (), "digest": ""}) == DESCRIPTION
    assert model.weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert model.weights[name].dtype == array.dtype
        assert np.array_equal(model.weights[name], array)
    assert read_description(location) == model.description


def test_the_directory_holds_three_files(model_dir: LocalDirectory) -> None:
    assert sorted(path.name for path in model_dir.local.iterdir()) == sorted(FILES)
    files = json.loads((model_dir.local / "config.json").read_text())["files"]
    assert {file["name"]: file["bytes"] for file in files} == {
        name: (model_dir.local / name).stat().st_size for name in FILES[1:]
    }


def test_writing_again_replaces_the_model(model_dir: LocalDirectory) -> None:
    write_model(model_dir, DESCRIPTION, CLASSES, {"count": np.array(4)})
    assert read_model(model_dir).weights == {"count": np.array(4)}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_with_the_remedy(model_dir: LocalDirectory, name: str) -> None:
    (model_dir.local / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing; the model is incomplete: repeat"):
        read_model(model_dir)


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no model: config.json is missing"):
        read_model(LocalDirectory(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match=r"an exported file.*--model .*/model\.onnx$"):
        read_model(LocalDirectory(tmp_path))
    for read in (read_model, read_description):
        with pytest.raises(
            UsageError, match="nowhere does not exist; expected the output of 'ssd train'"
        ):
            read(LocalDirectory(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", FILES[1:])
def test_every_damage_is_detected(model_dir: LocalDirectory, name: str) -> None:
    path = model_dir.local / name
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        for damaged in (bytes(flipped), content[:position]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=f"{name} is damaged"):
                read_model(model_dir)


def test_a_cut_description_is_detected(model_dir: LocalDirectory) -> None:
    path = model_dir.local / "config.json"
    content = path.read_bytes().rstrip()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"config\.json: invalid json"):
            read_model(model_dir)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format_version", 1, "config.json: format_version: input should be 2"),
        ("colour", "red", "config.json: colour: extra inputs"),
        ("files", [], "config.json does not list classes.json"),
        ("num_classes", 3, "classes.json: expected the labels 1..3"),
        ("num_classes", 10**18, "classes.json: expected the labels 1..1000000000000000000"),
    ],
)
def test_a_wrong_description_is_explained(
    model_dir: LocalDirectory, key: str, value: object, message: str
) -> None:
    path = model_dir.local / "config.json"
    content = {**json.loads(path.read_text()), key: value}
    others = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(others, sort_keys=True)
    content["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_model(model_dir)


def safetensors_of(kind: str, size: int) -> bytes:
    header = json.dumps({"x": {"dtype": kind, "shape": [2], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (safetensors_of("BF16", 4), "arrays of type 'BF16' are not read"),
        (safetensors_of("F8_E4M3", 2), "arrays of type 'F8_E4M3' are not read"),
        (safetensors_of("F4", 1), "arrays of type 'F4' are not read"),
        (safetensors_of("F32", 9), "is not a safetensors file"),
        (b"", "is not a safetensors file"),
        (safetensors_of("F32", 0).replace(b"[2], ", b"[0,9]"), "is not a safetensors file"),
        (safetensors.numpy.save({"x": np.array([0, np.nan])}), "'x' has values that are not fin"),
    ],
)
def test_foreign_weights_are_explained(
    model_dir: LocalDirectory, content: bytes, message: str
) -> None:
    (model_dir.local / "weights.safetensors").write_bytes(content)
    files = [KnownFile.of(name, model_dir.local / name) for name in FILES[1:]]
    write_description(model_dir, DESCRIPTION.model_copy(update={"files": tuple(files)}))
    with pytest.raises(DataError, match=f"weights.safetensors.*{message}"):
        read_model(model_dir)


@pytest.mark.parametrize(
    "change", [{"step": 801}, {"framework": "mindspore"}, {"training_id": "other"}, {"digest": ""}]
)
def test_a_changed_description_is_detected(
    model_dir: LocalDirectory, change: dict[str, object]
) -> None:
    path = model_dir.local / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"config\.json was changed: its content does not give its"):
        read_model(model_dir)
