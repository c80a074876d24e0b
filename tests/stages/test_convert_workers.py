"""Conversion in several processes: the same bytes as in one, also after kills."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from ssd_core.errors import DataError
from ssd_core.logs import Progress
from tests.datasets import convert_into, file_hashes, manifest_of, names_in, run_convert
from tests.processes import wait_until_gone

CONFIG = {"shard_bytes": 60_000, "policy": "repair"}


@pytest.fixture
def faulty(few_images: Path, tmp_path: Path) -> Path:
    """Return a data set with invalid images, so many that one part is empty."""
    folder = Path(shutil.copytree(few_images, tmp_path / "faulty"))
    names = names_in(folder, "train")
    for name in names[:4]:
        (folder / f"JPEGImages/{name}.jpg").write_bytes(b"x" * 20_000)
    shutil.copy(folder / f"JPEGImages/{names[5]}.jpg", folder / f"JPEGImages/{names[7]}.jpg")
    path = folder / f"Annotations/{names[6]}.xml"
    path.write_text(path.read_text().replace("<xmin>", "<xmin>-9", 1))
    return folder


def test_the_number_of_workers_changes_nothing(
    faulty: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor whether every image is reported as progress, without which a slow part would be ended."""
    monkeypatch.setattr(Progress, "line_seconds", 0)
    results = []
    for workers in (1, 2, 3):
        out_dir = tmp_path / f"by-{workers}"
        convert_into(out_dir, CONFIG, faulty, workers=workers)
        results.append(file_hashes(out_dir))
        lines = capsys.readouterr().err.splitlines()
        shown = [line.split()[2].rstrip(",") for line in lines if line.startswith("convert: ")]
        assert shown == [f"{number}/12" for number in range(1, 13)]
    assert results[0] == results[1] == results[2]
    names = [shard.name for shard in manifest_of(out_dir).splits["train"].shards]
    assert names == ["train-00001.arrow", "train-00002.arrow"]  # part 0 is empty
    assert manifest_of(out_dir).findings == {
        "box_partly_outside": 1,
        "equal_images": 1,
        "image_not_an_image": 4,
    }


def test_a_strict_error_does_not_depend_on_the_workers(faulty: Path, tmp_path: Path) -> None:
    messages = []
    for workers in (1, 2):
        with pytest.raises(DataError, match="error 1 of 5") as caught:
            convert_into(tmp_path / f"{workers}", {"shard_bytes": 60_000}, faulty, workers=workers)
        messages.append(str(caught.value).replace(str(tmp_path / f"{workers}"), "OUT"))
        assert not (tmp_path / f"{workers}" / "manifest.json").exists()
    assert messages[0] == messages[1]


# Loaded by the command and its workers: a worker kills itself or its parent when a shard gets its
# final name.
KILLER = """
import os, signal, sys
from pathlib import Path

name, victim = os.environ["NAME"], os.environ["VICTIM"]
Path(os.environ["PIDS"], str(os.getpid())).touch()

def hook(event, values):
    if event == "os.rename" and str(values[1]).endswith(name):
        os.kill(os.getpid() if victim == "worker" else os.getppid(), signal.SIGSEGV)

sys.addaudithook(hook)
"""


@pytest.mark.parametrize("victim", ["worker", "parent"])
def test_a_conversion_killed_at_every_shard_and_repeated(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    config: dict[str, Any] = {"shard_bytes": 100_000}
    convert_into(tmp_path / "whole", config, few_images)
    shards = [shard.name for shard in manifest_of(tmp_path / "whole").shards()]
    assert len(shards) >= 3
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    monkeypatch.setenv("VICTIM", victim)
    for name in shards:
        out_dir, pids = tmp_path / f"out-{name}", tmp_path / f"pids-{name}"
        pids.mkdir()
        with monkeypatch.context() as patch:
            for variable, value in {"NAME": name, "PIDS": pids, "PYTHONPATH": tmp_path}.items():
                patch.setenv(variable, str(value))
            words = [few_images, "--out", out_dir, "--set", "convert.shard_bytes=100000"]
            done = run_convert(*words, "--workers", "2")
        if victim == "worker":
            assert done.returncode == 75
            assert done.stderr.splitlines()[-1] == DEATH
        else:
            assert done.returncode == -signal.SIGSEGV
        wait_until_gone(*(int(path.name) for path in pids.iterdir()))
        assert not (out_dir / "manifest.json").exists()
        finished = {path: path.stat().st_mtime_ns for path in out_dir.glob("*.arrow")}
        journal = (out_dir / "journal.jsonl").read_text()
        convert_into(out_dir, config, few_images)
        assert file_hashes(out_dir) == file_hashes(tmp_path / "whole")
        kept = {path for path, time in finished.items() if path.stat().st_mtime_ns == time}
        assert {path for path in finished if path.name in journal} == kept


DEATH = (
    "error: a worker process of the conversion was killed by SIGSEGV, perhaps for lack of memory; "
    "repeat the command with fewer --workers, or raise the limit"
)


@pytest.mark.parametrize(
    ("fault", "code", "end"),
    [
        ("os._exit(1)", 75, "a worker process of the conversion could not start, perhaps for lack"),
        (
            "sys.modules['ssd_core.data.conversion.part'] = None",
            75,
            "a worker process of the conversion could not start, perhaps for lack of memory",
        ),
        (
            "import ssd_core.data.conversion.part as p; p.take_fingerprint = None",
            1,
            "a worker process of the conversion has failed; its error is above",
        ),
    ],
)
def test_a_worker_that_fails_by_itself(
    few_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    code: int,
    end: str,
) -> None:
    hook = f"import os, sys\nif sys.orig_argv[1] == '-m':\n    {fault}\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_convert(few_images, "--out", tmp_path / "out", "--workers", "2")
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {end}")
