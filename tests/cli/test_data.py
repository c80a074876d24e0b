"""How the data commands read their words."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ssd_core.cli.data import _read_classes
from ssd_core.config import ConvertConfig
from ssd_core.data.shards.manifest import read_manifest
from ssd_core.errors import UsageError
from ssd_core.store import LocalDirectory

SSD = Path(sys.executable).with_name("ssd")


def run(words: Sequence[str | Path]) -> None:
    done = subprocess.run([SSD, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_classes_come_from_words_or_from_a_file(tmp_path: Path) -> None:
    assert _read_classes(None) is None
    assert _read_classes("cat, dog=hound,") == ["cat", "dog=hound"]
    names = [f"class {number}" for number in range(100)]
    assert _read_classes(",".join(names)) == names  # longer than any file name
    (tmp_path / "names").write_text("cat\n\n dog \n")
    assert _read_classes(str(tmp_path / "names")) == ["cat", "dog"]
    (tmp_path / "empty").write_text("\n")
    for nothing in ("", " , ", str(tmp_path / "empty")):
        with pytest.raises(UsageError, match="has no name; expected a,b,c or a file of names"):
            _read_classes(nothing)
    (tmp_path / "image").write_bytes(b"\xff\xd8")
    with pytest.raises(UsageError, match="image: is not UTF-8; expected a name a line"):
        _read_classes(str(tmp_path / "image"))


def test_every_key_can_be_set(few_photographs: Path, tmp_path: Path) -> None:
    words = ["convert", few_photographs, "--out", tmp_path / "out", "--policy", "repair"]
    words += ["--set", "convert.shard_bytes=60000", "--set", "convert.max_pixels=400000"]
    run(words)
    options = read_manifest(LocalDirectory(tmp_path / "out")).options
    changed = {"policy": "repair", "shard_bytes": 60_000, "max_pixels": 400_000}
    assert options == ConvertConfig(**changed).model_dump(mode="json")  # type: ignore[arg-type]


def test_nothing_said_is_the_configuration_itself(few_photographs: Path, tmp_path: Path) -> None:
    run(["convert", few_photographs, "--out", tmp_path / "out"])
    options = read_manifest(LocalDirectory(tmp_path / "out")).options
    assert options == ConvertConfig().model_dump(mode="json")


@pytest.mark.parametrize(
    ("words", "is_decoded"), [([], True), (["--decode-check"], True), (["--no-decode"], False)]
)
def test_check_decodes_unless_told_not_to(
    few_photographs: Path, tmp_path: Path, words: list[str], is_decoded: bool
) -> None:
    out_dir = tmp_path / "out"
    run(["check", few_photographs, "--out", out_dir, *words])
    config = json.loads((out_dir / "invocation.json").read_text())["config"]
    assert config["decode_check"] is is_decoded
