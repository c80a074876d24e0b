"""Commands of the report: they parse, and name what the reader needs."""

import shlex

import pytest

from ssd_core.recipes import load_recipe
from ssd_core.report.commands import next_steps, repeat_commands


def invocation(config=None, **options):
    inputs = {"model": {"uri": "/m"}, "dataset": {"uri": "/data sets/d"}}
    return {"version": "1.0", "image": "", "options": options, "config": config, "inputs": inputs}


def steps(model, **options):
    results = {"evaluate": {"metrics": {"f1_threshold": 0.3696}}}
    return dict(next_steps(model, results, {"evaluate": invocation(**options)}))


def test_the_model_is_used_at_its_best_threshold():
    found = steps("/my model")
    predict = shlex.split(found["Detect objects in a folder of images"])
    assert predict == [
        *("ssd", "predict", "--model", "/my model", "photos"),
        *("--score", "0.369", "--out", "found"),
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


def test_credentials_are_passed_by_name():
    words = shlex.split(steps("s3://bucket/m", device="cuda")["In a container"])
    assert words[3:5] == ["--gpus", "all"]
    assert words[words.index("AWS_ACCESS_KEY_ID") - 1] == "--env"
    assert "ssd-on-kubeflow/torch-cuda:1.0" in words


def test_a_stage_is_repeated_with_the_values_that_are_not_defaults():
    recipe = load_recipe("demo").model_dump(mode="json")
    recipe["train"]["epochs"] = 3
    trained = invocation(recipe)
    del trained["inputs"]["model"]
    invocations = {
        "train": trained,
        "import-weights": invocation(),
        "evaluate": invocation({"batch_size": 8, "voc_ap": True}, framework="mindspore"),
    }
    assert [shlex.split(command) for command in repeat_commands(invocations)] == [
        [
            *("ssd", "train", "--data", "/data sets/d", "--recipe", "demo"),
            *("--set", "train.epochs=3", "--out", "trained"),
        ],
        [
            *("ssd", "evaluate", "--data", "/data sets/d", "--model", "/m"),
            *("--set", "evaluate.voc_ap=true", "--out", "evaluation", "--framework", "mindspore"),
        ],
    ]
    recipe["name"] = "mine"
    assert "--config recipe.json" in repeat_commands({"train": trained})[0]
