"""Publishing a trained model: bars, the place, the card, and who comes first."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssd_core.config import PostprocessOverrides, PublishConfig, parse_section
from ssd_core.errors import GateError, OwnershipError, UsageError
from ssd_core.metrics import METRICS
from ssd_core.model_dir import WEIGHTS_FILE, read_model, write_model
from ssd_core.stages import predict, publish, verify
from ssd_core.stages.publish import Label
from ssd_core.store import LocalDirectory
from ssd_core.store.local import file_sha256
from ssd_core.store.places import Places


@pytest.fixture
def inputs(trained_dir, evaluation_dir, speed_dir):
    return [trained_dir, evaluation_dir, speed_dir]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


CELLS_1 = Label(name="cells", version="1")


def run(inputs, root, config=None, label=CELLS_1, out="out"):
    section = parse_section(PublishConfig, config or {}, "publish")
    out_dir, places = LocalDirectory(root.parent / out), Places(str(root))
    return publish.run(section, inputs, out_dir, places=places, label=label)


def published_files(place):
    """Return the entries of `published.json` by name."""
    return {
        entry["name"]: entry
        for entry in json.loads((place / "published.json").read_text())["files"]
    }


def other_model(trained_dir, evaluation_dir, folder):
    """Return outputs of train and evaluate that tell of a model with other weights."""
    train, evaluate = folder / "train", folder / "evaluate"
    shutil.copytree(trained_dir, train)
    shutil.copytree(evaluation_dir, evaluate)
    model = read_model(LocalDirectory(train / "model"))
    weights = {name: array + 1 for name, array in model.weights.items()}
    write_model(LocalDirectory(train / "model"), model.description, model.classes, weights)
    digest = read_model(LocalDirectory(train / "model")).description.file(WEIGHTS_FILE).sha256
    invocation = json.loads((evaluate / "invocation.json").read_text())
    invocation["inputs"]["model_dir"]["digest"] = digest
    (evaluate / "invocation.json").write_text(json.dumps(invocation))
    return [train, evaluate]


def test_a_published_model_is_whole_and_works(inputs, trained_dir, bccd_dir, root, tmp_path):
    result = run(inputs, root)
    place = root / "models" / "cells" / "1"
    assert result.metadata["uri"] == str(place)
    files = published_files(place)
    assert set(files) == {path.name for path in place.iterdir()} - {"published.json"}
    for name, entry in files.items():
        path = place / name
        assert (entry["bytes"], entry["sha256"]) == (path.stat().st_size, file_sha256(path))
    published, trained = (read_model(LocalDirectory(path)) for path in (place, trained_dir))
    assert published.description == trained.description
    image_path = min((bccd_dir / "JPEGImages").iterdir())
    predict.run(
        parse_section(PostprocessOverrides, {"score_threshold": 0.1}, "postprocess"),
        LocalDirectory(place),
        [image_path],
        LocalDirectory(tmp_path / "found"),
        device="cpu",
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["uri"] == str(place)
    assert set(results["metrics"]) == {"ap", "images_per_second"}
    read = json.loads((tmp_path / "out" / "invocation.json").read_text())["inputs"]
    assert read["train"]["digest"] == file_sha256(trained_dir / "results.json")


def test_the_card_says_all_that_a_user_needs(inputs, trained_dir, evaluation_dir, root):
    run(inputs, root)
    place = root / "models" / "cells" / "1"
    card = (place / "README.md").read_text()
    description = read_model(LocalDirectory(trained_dir)).description
    assert card.startswith("# cells 1\n")
    assert f"`{description.recipe}`" in card
    assert f"digest `{description.dataset_digest}`" in card
    metrics = json.loads((evaluation_dir / "results.json").read_text())["metrics"]
    for name, value in metrics.items():
        metric = METRICS[name]
        assert f"| {metric.title} | {metric.description} | {metric.format(value)} |" in card
    assert "| batch | images/s | p50 ms |" in card
    for name in ("Platelets", "RBC", "WBC"):
        assert f" | {name} | " in card
    assert "| ssd-core |" in card
    assert f"ssd predict --model {place} image.jpg" in card


def test_a_model_that_was_not_timed_says_so(trained_dir, evaluation_dir, root):
    run([trained_dir, evaluation_dir], root)
    assert "Not measured." in (root / "models" / "cells" / "1" / "README.md").read_text()


def test_without_a_version_it_is_the_training(inputs, trained_dir, root):
    training_id = read_model(LocalDirectory(trained_dir)).description.training_id
    result = run(inputs, root, label=Label(name="cells"))
    assert result.metadata["version"] == training_id
    assert (root / "models" / "cells" / training_id / "published.json").is_file()


def test_without_a_name_only_the_bars_are_checked(inputs, root):
    assert "uri" not in run(inputs, root, label=None).metadata
    assert not root.exists()
    with pytest.raises(GateError):
        run(inputs, root, {"min_ap": 0.999}, label=None)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"min_ap": 0.999}, r"ap is 0\.\d+; publish\.min_ap requires at least 0\.999"),
        (
            {"min_images_per_second": 1e9},
            r"images_per_second is \S+; publish\.min_images_per_second requires at least 1e\+09",
        ),
    ],
)
def test_a_missed_bar_names_figure_and_bar(inputs, root, config, message):
    with pytest.raises(GateError, match=message):
        run(inputs, root, config)
    assert not root.exists()


def test_a_bar_for_what_was_not_measured_is_missed(trained_dir, evaluation_dir, root):
    with pytest.raises(GateError, match="images_per_second was not measured; publish"):
        run([trained_dir, evaluation_dir], root, {"min_images_per_second": 0.001})


def test_a_bar_that_is_reached(inputs, root):
    run(inputs, root, {"min_images_per_second": 0.001})
    assert (root / "models" / "cells" / "1" / "published.json").is_file()


def test_the_same_model_again_changes_nothing(inputs, root):
    run(inputs, root)
    place = root / "models" / "cells" / "1"
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    run(inputs, root)
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_another_model_for_the_same_version_is_refused(
    inputs, trained_dir, evaluation_dir, root, tmp_path
):
    run(inputs, root)
    place = root / "models" / "cells" / "1"
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    others = other_model(trained_dir, evaluation_dir, tmp_path / "other")
    with pytest.raises(OwnershipError, match=f"{place} holds another model; choose another"):
        run(others, root)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    run(others, root, label=Label(name="cells", version="2"))


def test_of_models_that_race_one_wins_and_is_whole(
    inputs, trained_dir, evaluation_dir, root, tmp_path
):
    others = other_model(trained_dir, evaluation_dir, tmp_path / "other")

    def attempt(number):
        try:
            run(inputs if number % 2 else others, root, out=f"out-{number}")
        except OwnershipError:
            return None
        return number % 2

    with ThreadPoolExecutor(4) as pool:
        winners = {winner for winner in pool.map(attempt, range(4)) if winner is not None}
    assert len(winners) == 1
    winner = (inputs if winners == {1} else others)[0]
    expected = read_model(LocalDirectory(winner / "model")).description
    assert read_model(LocalDirectory(root / "models" / "cells" / "1")).description == expected


def test_a_publication_that_was_cut_short_is_completed(inputs, root):
    """The card of the first attempt stays, and is what the manifest describes."""
    run(inputs, root)
    place = root / "models" / "cells" / "1"
    (place / "published.json").unlink()
    (place / "weights.safetensors").unlink()
    (place / "README.md").write_text("other figures")
    run(inputs, root)
    assert (place / "README.md").read_text() == "other figures"
    assert published_files(place)["README.md"]["sha256"] == file_sha256(place / "README.md")
    read_model(LocalDirectory(place))


def test_measurements_of_another_model_are_refused(
    trained_dir, evaluation_dir, speed_dir, root, tmp_path
):
    train, evaluate = other_model(trained_dir, evaluation_dir, tmp_path / "other")
    with pytest.raises(UsageError, match="is about another model than"):
        run([trained_dir, evaluate], root)
    with pytest.raises(UsageError, match="expected the 'benchmark' of this one"):
        run([train, evaluate, speed_dir], root)


def test_missing_inputs_are_named(trained_dir, evaluation_dir, root):
    with pytest.raises(UsageError, match="without the output directory of 'evaluate'"):
        run([trained_dir], root)
    with pytest.raises(UsageError, match="without the output directory of 'train'"):
        run([evaluation_dir], root)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_a_name_is_one_folder(inputs, root, name):
    with pytest.raises(UsageError, match="cannot name a place"):
        run(inputs, root, label=Label(name=name, version="1"))


def test_names_of_classes_cannot_break_the_card(inputs, root, tmp_path):
    evaluate = tmp_path / "evaluate"
    shutil.copytree(inputs[1], evaluate)
    results = json.loads((evaluate / "results.json").read_text())
    results["classes"][0]["name"] = "a|b\n<script>"
    (evaluate / "results.json").write_text(json.dumps(results))
    run([inputs[0], evaluate], root)
    card = (root / "models" / "cells" / "1" / "README.md").read_text()
    assert r"| a\|b \<script\> |" in card


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 0, ""),
        (["--set", "publish.min_ap=0.999"], 3, "error: ap is 0."),
        (["--set", "publish.min_pa=0.1"], 2, "did you mean 'publish.min_ap'?"),
        (["--name", "a/b"], 2, "error: 'a/b' cannot name a place"),
    ],
)
def test_the_command(inputs, root, tmp_path, words, code, message):
    command = [str(Path(sys.executable).with_name("ssd")), "publish", *map(str, inputs)]
    command += ["--name", "cells", "--root", str(root), "--out", str(tmp_path / "out"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert (root / "models").exists() == (code == 0)


def test_a_published_model_is_verified_as_a_model(inputs, root):
    run(inputs, root)
    place = root / "models" / "cells" / "1"
    (found,) = verify.run(LocalDirectory(root))
    assert (found.place, found.faults) == (LocalDirectory(place), [])
    (place / WEIGHTS_FILE).write_bytes(b"damaged")
    (found,) = verify.run(LocalDirectory(root))
    assert found.faults
