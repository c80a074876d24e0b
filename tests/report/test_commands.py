"""Commands of the report: they parse, and name what the reader needs."""

import shlex

import pytest

from ssd_core.config import Recipe
from ssd_core.recipes import RECIPES, load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.report.commands import next_steps, repeat_commands

OTHER = override(
    load_recipe("demo"),
    [
        *("evaluate.split=train", "evaluate.images=mindspore", "evaluate.voc_ap=true"),
        *("evaluate.closing_line=true", "evaluate.batch_size=3", "benchmark.batch_sizes=[2]"),
        *("benchmark.seconds=9", "benchmark.train_steps=7", "benchmark.fail_on_regression=1"),
        *(f"{stage}.postprocess.topk_candidates=9" for stage in ("evaluate", "benchmark")),
    ],
)
"""A recipe none of whose measurements has a default value."""


def invocation(config=None, **options):
    inputs = {"model": {"uri": "/m"}, "dataset": {"uri": "/data sets/d"}}
    return {"version": "1.0", "image": "", "options": options, "config": config, "inputs": inputs}


def steps(model, used="cpu", **options):
    results = {"metrics": {"f1_threshold": 0.3696}, "environment": {"device": used}}
    results = {"evaluate": results}
    return dict(next_steps(model, results, {"evaluate": invocation(**options)}))


def test_the_model_is_used_at_its_best_threshold():
    found = steps("/my model")
    predict = shlex.split(found["Detect objects in a folder of images"])
    assert predict == [
        *("ssd", "predict", "--model", "/my model", "photos"),
        *("--score", "0.370", "--out", "found"),
    ]
    words = shlex.split(found["In a container"].replace("\\\n", " "))
    assert words[:3] == ["docker", "run", "--rm"]
    assert words[-len(predict) :] == predict
    assert words[-len(predict) - 1] == "ssd-on-kubeflow/torch-cpu:1.0"
    assert "/my model:/my model:ro" in words


@pytest.mark.parametrize("name", ['/a"b', "s3://bucket/m"])
def test_the_python_lines_are_python(name):
    lines = steps(name, framework="mindspore")["In Python"]
    seen = {}
    source = lines.replace("from ssd_core import load_detector\n", "").partition("\nfound")[0]
    exec(source, {"load_detector": lambda *words, **named: seen.update(words=words, **named)})
    assert seen == {"words": (name,), "framework": "mindspore"}


@pytest.mark.parametrize(("device", "option"), [("cuda", "--gpus"), ("npu", "--runtime")])
def test_credentials_are_passed_by_name_and_the_accelerator_of_the_run(device, option):
    words = shlex.split(steps("s3://bucket/m", device)["In a container"])
    assert words[3] == option
    assert words[words.index("AWS_ACCESS_KEY_ID") - 1] == "--env"
    assert f"ssd-on-kubeflow/torch-{device}:1.0" in words


def test_an_exported_file_is_neither_exported_again_nor_mounted():
    found = steps("/exported/model.onnx", framework="onnxruntime")
    assert list(found) == ["Detect objects in a folder of images", "In Python"]


def test_a_stage_is_repeated_with_its_configuration():
    recipe = load_recipe("demo").model_dump(mode="json")
    recipe["train"]["epochs"] = 3
    trained = invocation(recipe, device="cpu")
    del trained["inputs"]["model"]
    invocations = {
        "train": trained,
        "import-weights": invocation(),
        "evaluate": invocation({"batch_size": 8, "voc_ap": True}, framework="mindspore"),
    }
    assert [shlex.split(command) for command in repeat_commands(invocations)] == [
        [
            *("ssd", "train", "--data", "/data sets/d", "--recipe", "demo"),
            *("--set", "train.epochs=3", "--out", "trained", "--device", "cpu"),
        ],
        [
            *("ssd", "evaluate", "--data", "/data sets/d", "--model", "/m"),
            *("--set", "evaluate.batch_size=8", "--set", "evaluate.voc_ap=true"),
            *("--out", "evaluation", "--framework", "mindspore"),
        ],
    ]
    recipe["name"] = "mine"
    command = repeat_commands({"train": trained})[0]
    assert command.startswith("jq .train.invocation.config report.json > recipe.json\nssd train ")
    assert "--config recipe.json" in command


@pytest.mark.parametrize("stage", ["evaluate", "benchmark"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_model_with_other_defaults_is_measured_the_same_way(stage, name):
    """The command starts from the recipe of the model, here one whose values all differ."""
    recorded = override(load_recipe(name), [f"{stage}.postprocess.score_threshold=0.25"])
    config = getattr(recorded, stage).model_dump(mode="json")
    words = shlex.split(repeat_commands({stage: invocation(config)})[0])
    changes = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
    assert getattr(override(OTHER, changes), stage) == getattr(recorded, stage)


@pytest.mark.parametrize("name", ["ssd640_resnet50_fpn", "ssdlite320_mobilenet_v3"])
def test_a_training_is_repeated_from_its_recipe(name):
    """Also where a whole part of the network is added to the recipe or removed from it."""
    values = load_recipe(name).model_dump(mode="json") | {"name": "ssd300_vgg16"}
    recorded = Recipe.model_validate(values)
    words = shlex.split(repeat_commands({"train": invocation(values)})[0])
    changes = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
    assert override(load_recipe("ssd300_vgg16"), changes).train == recorded.train
