"""Publishing a trained model: required metrics, target directory, model card, concurrent runs."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssd_core.config import PredictConfig, PublishConfig
from ssd_core.errors import GateError, OwnershipError, UsageError
from ssd_core.metrics import METRICS
from ssd_core.model_dir import (
    WEIGHTS_FILE,
    ModelDescription,
    read_model,
    write_description,
    write_model,
)
from ssd_core.recipes.overrides import override
from ssd_core.stages import predict, publish, verify
from ssd_core.stages.publish import Label
from ssd_core.store import LocalDirectory
from ssd_core.store.layout import Layout
from ssd_core.store.local import file_sha256
from tests.commands import call_ssd
from tests.stage_outputs import change_output

CELLS_1 = Label(name="cells", version="1")


@pytest.fixture(scope="module")
def inputs(trained_dir, evaluation_dir, speed_dir):
    return [trained_dir, evaluation_dir, speed_dir]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def cells_1(root):
    """Return the directory that `run` publishes to."""
    return root / "models" / "cells" / "1"


def run(inputs, root, *, label=CELLS_1, out="out", **config):
    out_dir, layout = LocalDirectory(root.parent / out), Layout(str(root))
    directories = list(map(LocalDirectory, inputs))
    return publish.run(PublishConfig(**config), directories, out_dir, layout=layout, label=label)


def describe(model_dir: Path) -> ModelDescription:
    return read_model(LocalDirectory(model_dir)).description


@pytest.fixture
def others(trained_dir, evaluation_dir, tmp_path):
    """Return outputs of train and evaluate for a model with other weights."""
    train = Path(shutil.copytree(trained_dir, tmp_path / "other" / "train"))
    evaluate = Path(shutil.copytree(evaluation_dir, tmp_path / "other" / "evaluate"))
    model_dir = LocalDirectory(train / "model")
    model = read_model(model_dir)
    weights = {name: array + 1 for name, array in model.weights.items()}
    write_model(model_dir, model.description, model.classes, weights)
    digest = describe(train / "model").file(WEIGHTS_FILE).sha256
    change_output(
        evaluate, invocation=lambda content: content["inputs"]["model"].update(digest=digest)
    )
    return [train, evaluate]


def test_a_published_model_is_complete_and_usable(
    inputs, trained_dir, bccd_dir, root, cells_1, tmp_path
):
    result = run(inputs, root)
    assert result.metadata["uri"] == str(cells_1)
    files = json.loads((cells_1 / "published.json").read_text())["files"]
    names = {path.name for path in cells_1.iterdir()}
    assert {file["name"] for file in files} == names - {"published.json"}
    for file in files:
        path = cells_1 / file["name"]
        assert file["bytes"] == path.stat().st_size
        assert file["sha256"] == file_sha256(path)
    assert describe(cells_1) == describe(trained_dir)
    image, found = min((bccd_dir / "JPEGImages").iterdir()), LocalDirectory(tmp_path / "found")
    predict.run(
        PredictConfig(score=0.1),
        LocalDirectory(cells_1),
        [LocalDirectory(image)],
        found,
        device="cpu",
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["uri"] == str(cells_1)
    assert set(results["metrics"]) == {"ap", "images_per_second"}
    read = json.loads((tmp_path / "out" / "invocation.json").read_text())["inputs"]
    assert read["train"]["digest"] == file_sha256(trained_dir / "results.json")
    (verified,) = verify.run(LocalDirectory(root))
    assert (verified.directory.local, verified.faults) == (cells_1, [])


def test_the_card_describes_the_model(inputs, trained_dir, evaluation_dir, root, cells_1):
    run(inputs, root)
    card = (cells_1 / "README.md").read_text()
    description = describe(trained_dir)
    assert card.startswith("# cells 1\n")
    assert f"`{description.recipe.name}`" in card
    assert f"digest `{description.dataset_digest}`" in card
    metrics = json.loads((evaluation_dir / "results.json").read_text())["metrics"]
    for name, value in metrics.items():
        metric = METRICS[name]
        assert f"| {metric.title} | {metric.description} | {metric.format(value)} |" in card
    assert "| batch | images/s | p50 ms |" in card
    for name in ("Platelets", "RBC", "WBC"):
        assert f" | {name} | " in card
    assert "| ssd-core |" in card
    assert f"ssd predict --model {cells_1} image.jpg" in card


def test_a_card_without_a_benchmark_states_it(inputs, root, cells_1):
    run(inputs[:2], root)
    assert "Not measured." in (cells_1 / "README.md").read_text()


def test_an_imported_model_has_a_card_without_a_training(
    inputs, imported_dir, root, cells_1, tmp_path
):
    run([imported_dir, inputs[1]], root)
    card = (cells_1 / "README.md").read_text()
    assert "3 classes, with weights that mindspore trained,\nfor the network of the" in card
    assert "| data set |" not in card
    assert describe(cells_1) == describe(imported_dir)
    with pytest.raises(UsageError, match="both hold a model; give one"):
        run([imported_dir, *inputs], root)


def test_names_of_classes_cannot_break_the_card(inputs, root, cells_1, tmp_path):
    evaluate = Path(shutil.copytree(inputs[1], tmp_path / "evaluate"))
    change_output(
        evaluate, results=lambda content: content["classes"][0].update(name="a|b\n<script>")
    )
    run([inputs[0], evaluate], root)
    assert r"| a\|b \<script\> |" in (cells_1 / "README.md").read_text()


def test_the_id_of_the_training_is_the_default_version(inputs, trained_dir, root):
    training_id = describe(trained_dir).training_id
    assert run(inputs, root, label=Label(name="cells")).metadata["version"] == training_id
    assert (root / "models" / "cells" / training_id / "published.json").is_file()


def test_without_a_name_only_the_required_metrics_are_checked(inputs, root):
    assert "uri" not in run(inputs, root, label=None).metadata
    assert not root.exists()
    with pytest.raises(GateError):
        run(inputs, root, label=None, min_ap=0.999)


@pytest.mark.parametrize(
    ("config", "num_inputs", "message"),
    [
        ({"min_ap": 0.999}, 3, r"ap is 0\.\d+; publish\.min_ap requires at least 0\.999"),
        (
            {"min_images_per_second": 1e9},
            3,
            r"images_per_second is \S+; publish\.min_images_per_second requires at least 1e\+09",
        ),
        ({"min_images_per_second": 0.001}, 2, "images_per_second was not measured; publish"),
    ],
)
def test_a_model_below_a_required_metric_is_not_published(
    inputs, root, config, num_inputs, message
):
    with pytest.raises(GateError, match=message):
        run(inputs[:num_inputs], root, **config)
    assert not root.exists()


@pytest.mark.parametrize("is_changed", [False, True])
def test_publishing_the_same_weights_again_changes_nothing(
    inputs, root, cells_1, tmp_path, is_changed
):
    run(inputs, root, min_images_per_second=0.001)
    before = {path: path.stat().st_mtime_ns for path in cells_1.iterdir()}
    if is_changed:
        inputs = [Path(shutil.copytree(inputs[0], tmp_path / "train")), *inputs[1:]]
        description = describe(inputs[0])
        recipe = override(description.recipe, ["publish.min_ap=0.001"])
        changed = description.model_copy(update={"recipe": recipe})
        write_description(LocalDirectory(inputs[0] / "model"), changed)
    run(inputs, root)
    assert {path: path.stat().st_mtime_ns for path in cells_1.iterdir()} == before


def test_another_model_for_the_same_version_is_refused(inputs, others, root, cells_1):
    run(inputs, root)
    before = {path.name: path.read_bytes() for path in cells_1.iterdir()}
    with pytest.raises(OwnershipError, match=f"{cells_1} holds another model; choose another"):
        run(others, root)
    assert {path.name: path.read_bytes() for path in cells_1.iterdir()} == before
    run(others, root, label=Label(name="cells", version="2"))


def test_one_of_several_concurrent_publications_wins(inputs, others, root, cells_1):
    def attempt(number):
        try:
            run(inputs if number % 2 else others, root, out=f"out-{number}")
        except OwnershipError:
            return None
        return number % 2

    with ThreadPoolExecutor(4) as pool:
        winners = {winner for winner in pool.map(attempt, range(4)) if winner is not None}
    assert len(winners) == 1
    assert describe(cells_1) == describe((inputs if winners == {1} else others)[0])


def test_an_interrupted_publication_is_completed(inputs, root, cells_1):
    """The card of the first attempt stays, and the manifest describes that one."""
    run(inputs, root)
    (cells_1 / "published.json").unlink()
    (cells_1 / "weights.safetensors").unlink()
    (cells_1 / "README.md").write_text("other figures")
    run(inputs, root)
    files = json.loads((cells_1 / "published.json").read_text())["files"]
    digests = {file["name"]: file["sha256"] for file in files}
    assert (cells_1 / "README.md").read_text() == "other figures"
    assert digests["README.md"] == file_sha256(cells_1 / "README.md")
    describe(cells_1)


def test_measurements_of_another_model_are_refused(inputs, others, root):
    with pytest.raises(UsageError, match="is of another model than"):
        run([inputs[0], others[1]], root)
    with pytest.raises(UsageError, match="expected the 'benchmark' of that model"):
        run([*others, inputs[2]], root)


@pytest.mark.parametrize(("given", "missing"), [(0, "evaluate"), (1, "train' or 'import-weights")])
def test_a_missing_input_is_named(inputs, root, given, missing):
    with pytest.raises(UsageError, match=f"the output directory of '{missing}' is missing"):
        run([inputs[given]], root)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_a_name_is_one_folder(inputs, root, name):
    with pytest.raises(UsageError, match="is not a valid name"):
        run(inputs, root, label=Label(name=name, version="1"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 0, ""),
        (["--set", "publish.min_ap=0.999"], 3, "error: ap is 0."),
    ],
)
def test_the_command(inputs, root, arguments, code, message):
    command = ["publish", *inputs, "--name", "cells", "--out", root]
    done = call_ssd(*command, *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert (root / "models").exists() == (code == 0)
    if code == 0:
        published = Path(done.stdout.splitlines()[-1])
        assert published.parent == root / "models/cells"
        assert (published / "published.json").is_file()
