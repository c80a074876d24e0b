"""Artifacts of earlier versions: a command of today works, or returns one line with the remedy."""

import json
import tarfile
from pathlib import Path

import pytest

from pipelines.__main__ import main
from tests.commands import call, call_ssd
from tests.pipelines.cluster.kfp_server import KfpServer, running

HERE = Path(__file__).parent
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))
BEFORE, CURRENT = "before-0.1.0", "0.1.0"
MODEL = f"--model ../{CURRENT}/trained"
QUICK = "train.model.image_size=64 train.batch_size=2 train.steps=20"
SETTINGS = " ".join(f"--set {change}" for change in QUICK.split())
TRAIN = f"train --data shards --recipe demo --device cpu {SETTINGS} --out interrupted"
NO_MODEL = "another version of ssd-core wrote the model: repeat 'ssd train' or"
COMMANDS = {
    "verify shards": "another version of ssd-core wrote it; run the stage again: ssd convert",
    "verify trained/model": NO_MODEL,
    "convert source --classes cell --out shards": "an earlier version of ssd-core converted it; "
    "choose another --out, or remove it",
    f"evaluate {MODEL} --data shards --out on-old-shards": "",
    "evaluate --model trained --data shards --out again": NO_MODEL,
    "predict --model trained source/0.png --out found": NO_MODEL,
    "report trained evaluation speed --out page": NO_MODEL,
    "compare evaluation evaluation": "another version of ssd-core wrote it; run the stage again: "
    "ssd evaluate",
    f"benchmark {MODEL} --series series --set benchmark.seconds=0.05 --out faster": "",
    "history series": "",
    f"{TRAIN} --resume auto": "so its training cannot continue; choose another --out, or --resume",
}
"""Commands, and a part of their refusal of the artifacts of `BEFORE`; "" where they work."""
OF_ANOTHER_OWNER = ("convert", "train")
"""Commands that leave an output of another version to it."""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("upgrades")
    for version in VERSIONS:
        with tarfile.open(HERE / f"{version}.tar.xz") as archive:
            archive.extractall(root / version, filter="data")
    return root


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words.split()[:2]))
@pytest.mark.parametrize("version", VERSIONS)
def test_it_works_or_names_the_remedy(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, version: str, words: str
) -> None:
    monkeypatch.chdir(artifacts / version)
    done = call_ssd(*words.split())
    refusal = COMMANDS[words] if version == BEFORE else ""
    code = 2 if words.startswith(OF_ANOTHER_OWNER) else 3
    assert done.returncode == (code if refusal else 0), done.stderr
    assert refusal in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_training_continues(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal above leaves its checkpoints; here they were used."""
    monkeypatch.chdir(artifacts / CURRENT)
    assert call_ssd(*TRAIN.split(), "--resume", "auto").returncode == 0
    lines = Path("interrupted/train_log.jsonl").read_text().splitlines()
    starts = [line["step"] for line in map(json.loads, lines) if line["event"] == "start"]
    assert starts[:2] == [0, 4]
    assert list(artifacts.glob(f"{BEFORE}/interrupted/checkpoints/step-*/checkpoint.json"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_schedule_is_listed_and_replaced(artifacts: Path, version: str) -> None:
    server = KfpServer()
    with running(server):
        server.recurring_runs = json.loads((artifacts / version / "schedule.json").read_text())
        (old,) = server.recurring_runs
        words = [
            "--model=s3://detectors/cells",
            "--series=nightly",
            "--root=s3://detectors",
            "--placement=torch-cpu",
        ]
        words += ["--pipeline=benchmark", "--cron=0 0 3 * * *", f"--endpoint={server.endpoint}"]
        listed = call(main, "pipelines", "schedule", "list", words[-1])
        assert listed.stdout.startswith("nightly")
        replaced = call(main, "pipelines", "schedule", "nightly", *words)
        assert replaced.returncode == 0, replaced.stderr
        assert len(server.recurring_runs) == 1
        assert old not in server.recurring_runs
