"""Conversion to MindRecord: reproducible bytes, safe against kills and a full disk."""

import hashlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ssd_core.data.shards.mindrecord import files as mindrecord_files
from ssd_core.errors import OwnershipError, explain
from tests.datasets import SSD, convert_into, file_hashes, manifest_of, run_convert, split_of
from tests.requirements import missing

CONFIG = {"shards": "mindrecord"}
FILES = [
    "invocation.json",
    "manifest.json",
    "results.json",
    "ssd.mindrecord0",
    "ssd.mindrecord0.db",
    "ssd_eval.mindrecord0",
    "ssd_eval.mindrecord0.db",
]


@pytest.mark.skipif(find_spec("mindspore") is not None, reason="MindSpore is installed")
def test_without_mindspore_one_line_names_the_remedy(few_images: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    with pytest.raises(ModuleNotFoundError) as caught:
        convert_into(out_dir, CONFIG, few_images)
    assert "mindspore is not installed here: make setup-mindspore" in str(explain(caught.value))
    assert not out_dir.exists()


@pytest.fixture(scope="module")
def whole(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out_dir = tmp_path_factory.mktemp("whole") / "out"
    convert_into(out_dir, CONFIG, few_images)
    return out_dir


@pytest.mark.mindspore
def test_outputs(whole: Path) -> None:
    assert list(file_hashes(whole)) == FILES
    train = manifest_of(whole).splits["train"]
    assert [(shard.name, shard.rows) for shard in train.shards] == [
        ("ssd.mindrecord0", 8),
        ("ssd.mindrecord0.db", 0),
    ]
    for shard in train.shards:
        path = whole / shard.name
        assert path.stat().st_size == shard.num_bytes
        assert path.stat().st_mode & 0o777 == 0o644
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard.sha256


@pytest.mark.mindspore
def test_the_command_and_workers_give_the_same_bytes(
    few_images: Path, whole: Path, tmp_path: Path
) -> None:
    words = ["--shards", "mindrecord", "--workers", "2", "--out", tmp_path / "out"]
    done = run_convert(few_images, *words)
    assert done.returncode == 0, done.stderr
    assert file_hashes(tmp_path / "out") == file_hashes(whole)


@pytest.mark.mindspore
def test_skipping_repeated_work_changes_no_byte(
    few_images: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mindrecord_files, "_skip_repeated_work", lambda writer: None)
    convert_into(tmp_path / "out", CONFIG, few_images)
    assert file_hashes(tmp_path / "out") == file_hashes(whole)


@pytest.mark.mindspore
def test_another_format_in_the_same_directory_is_refused(few_images: Path, whole: Path) -> None:
    with pytest.raises(OwnershipError, match='shards: "mindrecord" -> "arrow"'):
        convert_into(whole, {}, few_images)


KILLER = """
import os, signal, sys
from ssd_core.config import ConvertConfig
from ssd_core.stages import convert
from ssd_core.store import Location

event, last = sys.argv[3], int(sys.argv[4])
count = 0

def die(name, values):
    global count
    if name == event and "mindrecord" in str(values[0]):
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
convert.run(ConvertConfig(shards="mindrecord"), sys.argv[1], Location.parse(sys.argv[2]))
"""


@pytest.mark.mindspore
@pytest.mark.parametrize(
    ("event", "last", "left"),
    [
        ("os.chmod", 1, []),  # MindSpore has written all files
        ("os.rename", 1, []),
        ("os.rename", 2, FILES[3:4]),
        ("os.rename", 4, FILES[3:6]),
    ],
)
def test_a_killed_conversion_continues(
    few_images: Path, whole: Path, tmp_path: Path, event: str, last: int, left: list[str]
) -> None:
    out_dir = tmp_path / "out"
    command = [sys.executable, "-c", KILLER, few_images, out_dir, event, str(last)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert sorted(path.name for path in out_dir.glob("ssd*")) == left
    assert len(list(out_dir.glob(".partial-*"))) == 1
    assert not (out_dir / "manifest.json").exists()
    times = {name: (out_dir / name).stat().st_mtime_ns for name in left}
    convert_into(out_dir, CONFIG, few_images)
    assert file_hashes(out_dir) == file_hashes(whole)
    if len(left) == 3:  # the finished training split is kept
        kept = {name: (out_dir / name).stat().st_mtime_ns for name in left[:2]}
        assert kept == {name: times[name] for name in left[:2]}


@pytest.mark.mindspore
def test_a_full_disk_ends_with_its_exit_code(few_images: Path, tmp_path: Path) -> None:
    out_dir = tmp_path / "small"
    out_dir.mkdir()
    script = (
        'mount -t tmpfs -o size=5m small "$1" || exit 99; '
        '"$2" convert "$3" --shards mindrecord --out "$1"; code=$?; ls -A "$1"; exit $code'
    )
    command = ["unshare", "--mount", "sh", "-c", script, "sh", out_dir, SSD, few_images]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode in {1, 99}:
        missing("mount", "this user may not mount a small disk")
    assert done.returncode == 75, done.stderr
    assert "MindSpore cannot write there: " in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == ["invocation.json", "journal.jsonl"]


@pytest.mark.mindspore
def test_a_second_run_changes_nothing(few_images: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("ssd*")}
    convert_into(whole, CONFIG, few_images)
    assert {path: path.stat().st_mtime_ns for path in whole.glob("ssd*")} == before
    assert split_of(whole, "val").num_images == 4
