"""docs/migration.md: its commands run on a small data set; its options, keys and names exist."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer

from pipelines.__main__ import app as pipelines_app
from ssd_core.cli.app import app
from ssd_core.config import Recipe, keys_of
from ssd_core.metrics import METRICS
from ssd_core.recipes import RECIPES
from tests.commands import call_ssd

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "migration.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RIGHT = [row.split("|")[-2] for row in re.findall(r"^\| .*\|$", PAGE, re.MULTILINE)]
SPANS = [span for cell in RIGHT for span in re.findall(r"`([^`]+)`", cell)]
"""Code in the last column of the tables: what exists here."""


def test_options_exist() -> None:
    commands = [
        command
        for program in (app, pipelines_app)
        for command in typer.main.get_command(program).commands.values()  # type: ignore[attr-defined]
    ]
    options = {name for each in commands for parameter in each.params for name in parameter.opts}
    named = {option for span in SPANS for option in re.findall(r"--[\w-]+", span)}
    assert len(named) > 20
    assert named - options == set()


def test_keys_recipes_and_metrics_exist() -> None:
    keys = set(keys_of(Recipe))
    sections = "|".join(Recipe.model_fields)
    named = [key for span in SPANS for key in re.findall(rf"\b(?:{sections})\.\w[\w.]*\b", span)]
    assert len(named) > 50
    assert [key for key in named if key not in keys and not key.endswith(".py")] == []
    assert set(re.findall(r"--recipe (\w+)", PAGE)) <= set(RECIPES)
    assert {span for span in SPANS if re.fullmatch("ap[_a-z0-9]*", span)} <= set(METRICS)


@pytest.fixture
def coco(few_images: Path, tmp_path: Path) -> Path:
    """Return a folder with a COCO data set of a few images, and detections in them."""
    for split, first in (("train", 0), ("val", 8)):
        folder = tmp_path / f"coco2017/{split}2017"
        folder.mkdir(parents=True)
        (folder.parent / "annotations").mkdir(exist_ok=True)
        paths = sorted((few_images / "JPEGImages").iterdir())[first : first + 8]
        for path in paths:
            shutil.copy(path, folder)
        objects = [
            {"id": k + 1, "image_id": k, "category_id": 1, "bbox": [9, 9, 60 + k, 70]}
            | {"area": 99.0, "iscrowd": int(k == 0)}
            for k in range(len(paths))
        ]
        content = {
            "images": [{"id": k, "file_name": path.name} for k, path in enumerate(paths)],
            "annotations": objects,
            "categories": [{"id": 1, "name": "cell"}],
        }
        name = folder.parent / f"annotations/instances_{split}2017.json"
        name.write_text(json.dumps(content))
    found = [{"image_id": 1, "category_id": 1, "bbox": [9, 9, 61, 70], "score": 0.9}]
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    return tmp_path


SHORTER = {
    "--epochs 500": "--batch-size 2 --set train.steps=1",
    "ssd benchmark": "ssd benchmark --set benchmark.seconds=0.01 --set benchmark.batch_sizes=1",
}
"""Words of the page that would take days, or seconds without a purpose."""


def test_the_commands_run(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(coco)
    printed = {}
    for line in (line for block in BLOCKS for line in block.splitlines()):
        text = line
        for words, others in SHORTER.items():
            text = text.replace(words, others)
        program, *arguments = shlex.split(text)
        assert program == "ssd"
        done = call_ssd(*arguments)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed[line.partition("--out ")[2]] = done.stdout.splitlines()
    assert printed["reduced"][-2].startswith("mAP: ")
    assert printed["before"][-2] == "pycocotools computes the same twelve figures"
    assert printed["report"][-1] == "report/report.html"
    assert len((coco / "found/predictions.jsonl").read_text().splitlines()) == 4
