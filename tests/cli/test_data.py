"""The options of the data commands."""

import json
from pathlib import Path

import pytest

from ssd_core.cli.data import read_classes
from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import UsageError
from ssd_core.store import LocalDirectory
from tests.commands import call_ssd


def test_classes_are_read_from_the_argument_or_from_a_file(tmp_path: Path) -> None:
    assert read_classes(None) is None
    assert read_classes("cat, dog=hound,") == ["cat", "dog=hound"]
    names = [f"class {number}" for number in range(100)]
    assert read_classes(",".join(names)) == names  # longer than any file name
    (tmp_path / "names").write_text("cat\n\n dog \n")
    assert read_classes(str(tmp_path / "names")) == ["cat", " dog "]  # a name may end in blanks
    (tmp_path / "empty").write_text("\n")
    for nothing in ("", " , ", str(tmp_path / "empty")):
        with pytest.raises(UsageError, match="no class names; expected a,b,c or a file"):
            read_classes(nothing)
    (tmp_path / "image").write_bytes(b"\xff\xd8")
    with pytest.raises(UsageError, match="image: not UTF-8; expected one name per line"):
        read_classes(str(tmp_path / "image"))


def test_every_key_can_be_set(few_images: Path, tmp_path: Path) -> None:
    arguments = ["--set", "convert.shard_bytes=60000", "--set", "convert.max_pixels=400000"]
    command = ["convert", few_images, "--out", tmp_path / "out", "--policy", "repair"]
    assert call_ssd(*command, *arguments).returncode == 0
    options = read_manifest(LocalDirectory(tmp_path / "out")).options
    changed = {"policy": "repair", "shard_bytes": 60_000, "max_pixels": 400_000}
    assert options == ConvertConfig(**changed).model_dump(mode="json")  # type: ignore[arg-type]


def test_the_defaults_are_those_of_the_configuration(few_images: Path, tmp_path: Path) -> None:
    assert call_ssd("convert", few_images, "--out", tmp_path / "out").returncode == 0
    options = read_manifest(LocalDirectory(tmp_path / "out")).options
    assert options == ConvertConfig().model_dump(mode="json")


@pytest.mark.parametrize(
    ("arguments", "is_decoded"), [([], True), (["--decode-check"], True), (["--no-decode"], False)]
)
def test_check_decodes_by_default(
    few_images: Path, tmp_path: Path, arguments: list[str], is_decoded: bool
) -> None:
    out_dir = tmp_path / "out"
    assert call_ssd("check", few_images, "--out", out_dir, *arguments).returncode == 0
    config = json.loads((out_dir / "invocation.json").read_text())["config"]
    assert config["decode_check"] is is_decoded
