"""One file of every kind that other programs may have written, and how each is read.

A digest that covers a change is computed again, so that a reader does not stop there.
"""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from pipelines.placement import PLACEMENTS_PATH, load_placement
from ssd_core.backends.rank_table import build_rank_table, read_rank_table
from ssd_core.backends.torch.state_file import read_state_file
from ssd_core.benchmark.history import Measurement, append, read_series
from ssd_core.config import ConvertConfig, EvaluateConfig, ReportConfig
from ssd_core.data.conversion.journal import journalled_shards
from ssd_core.data.shards.manifest import Manifest, content_digest
from ssd_core.data.shards.mindrecord.format import SCHEMA, count_rows, read_header
from ssd_core.data.shards.reader import open_split
from ssd_core.evaluation.detections_file import parse_detections, write_detections
from ssd_core.layouts.ckpt import read_ckpt, write_ckpt
from ssd_core.layouts.graph_def import read_graph
from ssd_core.model_dir import read_model
from ssd_core.recipes import load_recipe
from ssd_core.stages import convert, report
from ssd_core.stages.frame import Input, Invocation, run_stage
from ssd_core.stages.resolve_config import read_recipe
from ssd_core.stages.shapes import StepLine
from ssd_core.store import LocalDirectory
from ssd_core.store.known_file import KnownFile, digest_json
from ssd_core.store.s3.credentials import open_provider
from ssd_core.structures import Detections
from ssd_core.train_log import LOG_FILE, rewind
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from tests.layouts import frozen_graph
from tests.report.results import benchmark, class_row, evaluation
from tests.small_model import CLASSES, describe_model, write_small_model

ARRAYS = {"weights/a": np.arange(6, dtype=np.float32).reshape(2, 3), "rest/b": np.ones(2, np.int64)}
STEP = "checkpoints/step-00000001"


class Target(NamedTuple):
    """A file, and how it is read."""

    file: str
    read: Callable[[Path], object]
    """Takes the folder of all files."""
    seal: Callable[[Path], None] = lambda folder: None
    """Makes the hashes of other files agree with a change."""


def write_files(folder: Path, images: Path) -> None:
    """Write one file of every kind."""
    place = LocalDirectory(folder)
    convert.run(ConvertConfig(), str(images), place / "data")
    write_journal(folder)
    write_small_model(folder / "model", {"a": np.ones((2, 3), np.float32)})
    open_checkpoints(folder).save(TrainState(step=1, samples=4, seconds=1.0), ARRAYS)
    write_outputs(folder)
    recipe = load_recipe("demo")
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    shutil.copy(PLACEMENTS_PATH, folder / "placements.yaml")
    (folder / "table.json").write_text(
        build_rank_table("10.0.0.1", {0: "10.1.0.1"}).model_dump_json()
    )
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    (folder / "net.ckpt").write_bytes(write_ckpt(ARRAYS))
    nodes = (frozen_graph.constant(*entry) for entry in frozen_graph.ARRAYS.items())
    (folder / "graph.pb").write_bytes(frozen_graph.write_graph(*nodes))
    torch.save({"model": {"a": torch.ones(2, 3)}}, folder / "net.pth")
    found = Detections(
        boxes=np.ones((1, 4), np.float32),
        scores=np.ones(1, np.float32),
        labels=np.ones(1, np.int64),
    )
    write_detections(folder / "detections.json", [(1, found)], CLASSES)
    numbers = dict.fromkeys(StepLine.model_fields, 1) | {"images_per_second": 2.5, "loss_cls": 0.5}
    lines = [{"event": event} | numbers for event in ("start", "step", "evaluation", "end")]
    (folder / "train" / LOG_FILE).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    new = Measurement(run="a", time="", conditions={}, metrics={}, model={}, version="1")
    append(place / "series", new, [])
    header = json.dumps({"schema": [{"schema": dict(SCHEMA)}], "shard_addresses": ["a"]}).encode()
    (folder / "header.json").write_bytes(header)
    seal_header(folder)
    with contextlib.closing(sqlite3.connect(folder / "mindrecord.db")) as index:
        index.execute("CREATE TABLE INDEXES (id INTEGER)")
        index.commit()


def write_journal(folder: Path) -> None:
    manifest = json.loads((folder / "data" / "manifest.json").read_bytes())
    part: dict[str, Any] = {"split": "val", "index": 0, "boxes": 1, "max_boxes": 1, "findings": []}
    part |= {"shards": manifest["splits"]["val"]["shards"], "fingerprints": [1], "counts": {}}
    (folder / "journal.jsonl").write_text(f'"{"ab" * 32}"\n{json.dumps(part)}\n')


def write_outputs(folder: Path) -> None:
    places = {name: Input(f"/{name}", "ab") for name in ("model", "dataset")}
    model = {"recipe": "demo", "step": 1, "training_id": "ab"}
    facts = {"model": model, "environment": {"device_name": "chip", "precision": "fp32"}}
    evaluated = evaluation([class_row(1, 0.5)])
    evaluated["confusion"] = {"classes": ["a", "b"], "matrix": [[1, 0], [2, 3]]}
    measured = {
        "train": {"metrics": {"loss": 1.5}},
        "evaluate": evaluated,
        "benchmark": benchmark(),
    }
    for stage, results in measured.items():
        config = load_recipe("demo") if stage == "train" else EvaluateConfig()
        invocation = Invocation(stage=stage, config=config, inputs=places)
        run_stage(invocation, LocalDirectory(folder / stage), lambda _, r=results: r | facts)


def open_checkpoints(folder: Path) -> CheckpointDir:
    checkpoints = CheckpointDir(LocalDirectory(folder / "checkpoints"), describe_model(), CLASSES)
    checkpoints.resume()
    return checkpoints


def read_shards(folder: Path) -> None:
    for split in ("train", "val"):
        for record in open_split(LocalDirectory(folder / "data"), split).read_in_order():
            assert len(record.annotations) <= 10**6


def seal_shards(folder: Path) -> None:
    path = folder / "data" / "manifest.json"
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        values = json.loads(path.read_bytes())
        for split in values["splits"].values():
            for shard in split["shards"]:
                shard |= KnownFile.of(shard["name"], folder / "data" / shard["name"]).model_dump()
        manifest = Manifest.model_validate(values)
        values["digest"] = content_digest(manifest.classes, manifest.splits, manifest.options)
        path.write_text(json.dumps(values))


def seal_model(folder: Path, name: str = "model") -> None:
    path = folder / name / "config.json"
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        values = json.loads(path.read_bytes())
        for file in values["files"]:
            file |= KnownFile.of(file["name"], folder / name / file["name"]).model_dump()
        values["digest"] = digest_json({key: values[key] for key in values.keys() - {"digest"}})
        path.write_text(json.dumps(values))


def seal_checkpoint(folder: Path) -> None:
    seal_model(folder, STEP)
    path = folder / STEP / "checkpoint.json"
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
        values = json.loads(path.read_bytes())
        state = TrainState.model_validate(values["state"]).model_dump_json()
        values["state_sha256"] = hashlib.sha256(state.encode()).hexdigest()
        values["model"] = json.loads((folder / STEP / "config.json").read_bytes())["digest"]
        name = "state.safetensors"
        values["arrays"] = KnownFile.of(name, folder / STEP / name).model_dump()
        path.write_text(json.dumps(values))


def seal_output(stage: str) -> Callable[[Path], None]:
    def seal(folder: Path) -> None:
        request = (folder / stage / "invocation.json").read_bytes()
        path = folder / stage / "results.json"
        with contextlib.suppress(ValueError, TypeError):
            values = json.loads(path.read_bytes()) | {
                "invocation": hashlib.sha256(request).hexdigest()
            }
            path.write_text(json.dumps(values))

    return seal


def seal_header(folder: Path) -> None:
    """Write a MindRecord file without rows."""
    header = (folder / "header.json").read_bytes()
    (folder / "mindrecord").write_bytes(len(header).to_bytes(8, "little") + header)


def write_report(folder: Path) -> None:
    inputs = [LocalDirectory(folder / stage) for stage in ("train", "evaluate", "benchmark")]
    with tempfile.TemporaryDirectory() as out_dir:
        report.run(ReportConfig(), inputs, LocalDirectory(Path(out_dir)))


def read_credentials(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
        provider = open_provider("profile", {}, lambda url: pytest.fail(url))
        assert provider
        provider.retrieve()


def read_placements(folder: Path) -> None:
    load_placement("torch-cpu", folder / "placements.yaml")


def read_log(folder: Path) -> None:
    write_report(folder)
    rewind(folder / "train" / LOG_FILE, 1)


def read_detections(folder: Path) -> None:
    parse_detections((folder / "detections.json").read_bytes(), CLASSES, score_threshold=0.1)


JSON_FILES = {
    "manifest": Target("data/manifest.json", read_shards, seal_shards),
    "model": Target(
        "model/config.json", lambda at: read_model(LocalDirectory(at / "model")), seal_model
    ),
    "classes": Target(
        "model/classes.json", lambda at: read_model(LocalDirectory(at / "model")), seal_model
    ),
    "checkpoint": Target(f"{STEP}/checkpoint.json", open_checkpoints, seal_checkpoint),
    "evaluation": Target("evaluate/results.json", write_report, seal_output("evaluate")),
    "speed": Target("benchmark/results.json", write_report, seal_output("benchmark")),
    "training": Target("train/results.json", write_report, seal_output("train")),
    "invocation": Target("evaluate/invocation.json", write_report, seal_output("evaluate")),
    "recipe": Target("recipe.json", lambda at: read_recipe(str(at / "recipe.json"))),
    "rank table": Target("table.json", lambda at: read_rank_table(at / "table.json")),
    "header": Target("header.json", lambda at: read_header(at / "mindrecord"), seal_header),
    "detections": Target("detections.json", read_detections),
    "series": Target("series/000001.json", lambda at: read_series(LocalDirectory(at / "series"))),
}
FILES = JSON_FILES | {
    "shard": Target("data/train-00000.arrow", read_shards, seal_shards),
    "weights": Target(
        "model/weights.safetensors", lambda at: read_model(LocalDirectory(at / "model")), seal_model
    ),
    "state": Target(f"{STEP}/state.safetensors", open_checkpoints, seal_checkpoint),
    "journal": Target("journal.jsonl", lambda folder: journalled_shards(folder, "journal.jsonl")),
    "placements": Target("placements.yaml", read_placements),
    "credentials": Target("credentials", read_credentials),
    "frozen graph": Target("graph.pb", lambda at: read_graph((at / "graph.pb").read_bytes())),
    "ckpt": Target("net.ckpt", lambda at: read_ckpt((at / "net.ckpt").read_bytes())),
    "pth": Target("net.pth", lambda at: read_state_file((at / "net.pth").read_bytes())),
    "log": Target(f"train/{LOG_FILE}", read_log),
    "mindrecord": Target("mindrecord", lambda at: read_header(at / "mindrecord")),
    "mindrecord index": Target("mindrecord.db", lambda at: count_rows(at / "mindrecord")),
}
