"""`ssd evaluate` on several ranks: the detections and figures of one, bit by bit."""

import json
import os
import signal
import subprocess

import pytest

from ssd_core.backends import open_backend
from ssd_core.data.shards.reader import open_split
from ssd_core.model_dir import write_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.store import LocalDirectory
from tests.commands import call_ssd
from tests.processes import SSD, children, run_ssd, wait_until_gone
from tests.requirements import INSTALLED_FRAMEWORKS
from tests.small_model import describe_model


@pytest.fixture(scope="module", params=INSTALLED_FRAMEWORKS)
def words(request, bccd_shards, tmp_path_factory):
    """Return the command for a random network; 40 images are 5 batches of 7 and one of 5."""
    recipe = override(load_recipe("demo"), ["train.model.image_size=128"])
    learner = open_backend(request.param, "cpu", "fp32").learner(recipe.train, 3)
    model_dir = tmp_path_factory.mktemp("model") / "model"
    described = describe_model(num_classes=3).model_copy(update={"recipe": recipe})
    classes = open_split(LocalDirectory(bccd_shards), "val").classes
    write_model(LocalDirectory(model_dir), described, classes, learner.weights())
    places = ["--model", model_dir, "--data", bccd_shards, "--framework", request.param]
    return ["evaluate", *places, "--device", "cpu", "--set", "evaluate.batch_size=7"]


def test_two_ranks_find_what_one_does(words, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    one = call_ssd(*words, "--out", alone)
    two = run_ssd(*words, "--out", together, "--num-devices", "2", "--quiet")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert "waiting for" not in two.stderr
    assert two.stdout.replace("together", "alone") == one.stdout
    files = [each / "detections.json" for each in (alone, together)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len({row["image_id"] for row in json.loads(files[1].read_bytes())}) == 40
    ours, theirs = (json.loads((each / "results.json").read_text()) for each in (together, alone))
    assert ours["metrics"] == theirs["metrics"]


def test_a_killed_rank_ends_the_command(words, tmp_path):
    command = [SSD, *words, "--out", tmp_path / "out", "--num-devices", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(ranks := children(process.pid)) < 2:
            assert process.poll() is None
        os.kill(ranks[1], signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert "rank 1 was killed by SIGKILL" in errors
    assert not (tmp_path / "out" / "results.json").exists()
    wait_until_gone(*ranks)
