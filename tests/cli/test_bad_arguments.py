"""Invalid arguments of every `ssd` command: one line, the exit code, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.cli.app import app

# One process imports the stages once and forks for each command, which saves seconds per command.
DRIVER = """
import json, os, sys
from ssd_core.cli.app import main
from ssd_core.stages import benchmark, check, convert, evaluate, inspect, predict, report, train
import ssd_core.backends.torch.backend

def run_in_fork(arguments, number):
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(f"{number}.out", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(f"{number}.err", os.O_WRONLY | os.O_CREAT), 2)
        sys.argv[:] = ["ssd", *arguments]
        try:
            main()
        except SystemExit as stop:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code)
        os._exit(99)
    return os.waitstatus_to_exitcode(os.wait()[1])

os.chdir(sys.argv[1])
for number, arguments in enumerate(json.load(sys.stdin)):
    code = run_in_fork(arguments, number)
    errors = open(f"{number}.err", errors="replace").read()
    print(json.dumps([code, errors]), flush=True)
"""

LONG = "x" * 300
SOURCES = {
    "nowhere": "does not exist; expected a folder with a data set",
    "DATA": "is a converted data set, not a source; use it as it is: 'ssd train --data ",
    "file": "is not a folder",
    "loop": "does not exist",
    LONG: "does not exist",
    "": "the path is empty",
    "http://host/data": "is not supported here",
    "s3://": "bucket",
}
DATA = {
    "nowhere": (2, "nowhere does not exist; create or complete one with"),
    "MODEL": (2, "is a model, not a converted data set; create or complete one with"),
    "empty": (2, "holds no converted data set"),
    "file": (2, "holds no converted data set"),
    "broken": (3, "is not JSON"),
    "nested": (3, "is not JSON"),
    "foreign": (3, "schema version 99"),
    "": (2, "the path is empty"),
    "ftp://host/data": (2, "is not supported here"),
}
MODELS = {
    "nowhere": (2, "does not exist; expected the output of 'ssd train'"),
    "DATA": (2, "is a converted data set, not a model; expected the output of 'ssd train'"),
    "file": (2, "is a file, not a model; 'ssd import-weights' makes a model of weights"),
    "empty": (2, "holds no model: config.json is missing"),
    "broken": (3, "config.json"),
}
OUTS = {
    "file": "cannot write there: file exists; choose another path",
    "file/below": "cannot write there",
    "loop": "loop: cannot ",
    LONG: "file name too long",
    "/proc/below": "cannot write there",
    "": "the path is empty",
    "http://host/out": "is not supported here",
    "SOURCE/out": "is inside the source",
}
OPTIONS = {
    "--format coc": (2, "invalid value for '--format': 'coc' is not one of 'auto', 'coco'"),
    "--policy lenient": (2, "invalid value for '--policy'"),
    "--crowd some": (2, "invalid value for '--crowd'"),
    "--shards parquet": (2, "invalid value for '--shards'"),
    "--txt-order zx": (2, "invalid value for '--txt-order'"),
    "--voc-offset 2": (2, "convert.voc_offset: input should be 0 or 1, got 2"),
    "--voc-offset one": (2, "invalid value for '--voc-offset'"),
    "--workers 0": (2, "invalid value for '--workers': input should be greater than or equal to 1"),
    "--workers many": (2, "invalid value for '--workers'"),
    "--train nowhere.txt": (2, "--train nowhere.txt: this ImageSets list does not exist"),
    "--train ../x.txt": (2, "--train ../x.txt: leaves the source"),
    "--train /etc/passwd": (2, "--train /etc/passwd: leaves the source"),
    "--val nowhere": (2, "--val nowhere: this folder does not exist"),
    "--images nowhere": (2, "image folder nowhere: this folder does not exist"),
    "--images ../..": (
        2,
        "image folder ../..: leaves the source; expected a name inside it; if",
    ),
    "--format coco": (2, "found no coco training split"),
    "--format mindrecord": (2, "add --shards mindrecord"),
    "--classes ,": (2, "no class names"),
    "--classes a=": (2, "neither a name nor old=new"),
    "--classes WBC,WBC": (2, "names a class twice"),
    "--classes cat": (2, "unknown class 'cat'; known: Platelets, RBC, WBC"),
    "--classes wbc": (2, "unknown class 'wbc'; did you mean 'WBC'?"),
    "--classes nowhere.txt": (2, "--classes nowhere.txt: this file does not exist"),
    "--set convert.polcy=skip": (2, "did you mean 'convert.policy'?"),
    "--set polcy=skip": (2, "'polcy=skip' is not of the form section.key=value"),
    "--set convert=3": (2, "'convert=3' is not of the form section.key=value"),
    "--set convert.max_pixels=0": (2, "convert.max_pixels: input should be greater than 0, got 0"),
    "--set convert.max_skipped=2": (2, "convert.max_skipped: "),
    "--set convert.max_pixels=1e400": (2, "convert.max_pixels: "),
    "--set train.steps=1": (2, "unknown section 'train'; known: convert"),
    "--policy strict --set convert.policy=skip": (2, "--policy and --set convert.policy both set"),
    "--voc-offset 1 --set convert.voc_offset=0": (2, "both set convert.voc_offset; leave one"),
    "--set convert.policy": (2, "is not of the form section.key=value"),
    "--set convert.max_pixels=9": (3, "at most 9 are accepted (convert.max_pixels)"),
    "--polcy skip": (2, "no such option: --polcy"),
    "more": (2, "got unexpected extra argument"),
}

VERBS = [
    command.callback.__name__.replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


READ_DATA = [
    ["inspect"],
    ["train", "--recipe", "demo"],
    ["evaluate", "--model", "MODEL"],
    ["benchmark", "--model", "MODEL"],
]
READ_MODEL = [["evaluate", "--data", "DATA"], ["benchmark"], ["predict", "SOURCE"]]
TRAIN = ["train", "--data", "DATA", "--out", "o", "--recipe"]
EVALUATE = ["evaluate", "--model", "MODEL", "--data", "DATA", "--out", "o"]
FILES = ["evaluate", "--out", "o", "--detections", "file", "--ground-truth"]
BENCHMARK = ["benchmark", "--model", "MODEL", "--out", "o"]
REGRESSION = "benchmark.fail_on_regression"
EXPORT = ["export", "MODEL", "--out", "o", "--format"]
PREDICT = ["predict", "--model", "MODEL", "--out", "o"]
IMPORT = ["import-weights", "--recipe", "demo", "--out", "o", "--layout"]
COMMANDS = [
    (["recipes", "demo", "--set", "train.epoch=1"], 2, "did you mean 'train.epochs'?"),
    (["train", "--recipe", "demo"], 2, "missing option '--data'"),
    ([*TRAIN[:-1]], 2, "expected one of --recipe NAME (see 'ssd recipes') and --config FILE"),
    ([*TRAIN, "demo", "--config", "file"], 2, "both given; leave one of them out"),
    ([*TRAIN[:-1], "--config", "nowhere.json"], 2, "nowhere.json: does not exist; expected"),
    ([*TRAIN[:-1], "--config", "empty"], 2, "empty: is a folder; expected a recipe as"),
    ([*TRAIN[:-1], "--config", "file"], 2, "file: expected a recipe as 'ssd recipes NAME'"),
    ([*TRAIN, "demoo"], 2, "unknown recipe 'demoo'; did you mean 'demo'?"),
    ([*TRAIN, "demo", "--set", "train.epoch=1"], 2, "did you mean 'train.epochs'?"),
    ([*TRAIN, "demo", "--set", "train.epochs=x"], 2, "train.epochs: "),
    ([*TRAIN, "demo", "--device", "gpu"], 2, "unknown device 'gpu'; did you mean 'cuda'?"),
    ([*TRAIN, "demo", "--epochs", "2", "--set", "train.steps=2"], 2, "makes train.epochs meaning"),
    ([*TRAIN, "demo", "--epochs", "1", "--set", "train.epochs=2"], 2, "both set train.epochs"),
    (
        [*TRAIN, "demo", "--lr", "1", "--set", "train.optimizer.learning_rate=2"],
        2,
        "--lr and --set train.optimizer.learning_rate both set",
    ),
    ([*TRAIN, "demo", "--learning-rate", "1"], 2, "option: --learning-rate; did you mean '--lr'?"),
    ([*TRAIN, "demo", "--bs", "1"], 2, "no such option: --bs; did you mean '--batch-size'?"),
    ([*TRAIN, "demo", "--gpu"], 2, "no such option: --gpu (see 'ssd train --help')"),
    ([*TRAIN, "demo", "--lr", "0"], 2, "train.optimizer.learning_rate: input should be greater"),
    ([*TRAIN, "demo", "--framework", "tourch"], 2, "did you mean 'torch'?"),
    ([*TRAIN, "demo", "--framework", "tourch", "--num-devices", "2"], 2, "did you mean"),
    ([*TRAIN, "demo", "--devices", "0,one"], 2, "'0,one' is not a list of numbers such as 0,1"),
    ([*TRAIN, "demo", "--devices", "1,1"], 2, "'1,1' names a device twice"),
    ([*TRAIN, "demo", "--devices", "0,1", "--num-devices", "3"], 2, "leave --num-devices out"),
    ([*TRAIN, "demo", "--devices", "0"], 2, "--devices numbers GPUs and NPUs, which --device auto"),
    ([*TRAIN, "demo", "--framework", "mindspore"], 2, "mindspore is not installed here"),
    ([*EVALUATE, "--set", "benchmark.seconds=1"], 2, "unknown section 'benchmark'"),
    ([*EVALUATE, "--set", "evaluate.split=all"], 2, "evaluate.split: "),
    ([*EVALUATE, "--device", "gpu"], 2, "'gpu'"),
    ([*EVALUATE, "--detections", "file"], 2, "or --detections and --ground-truth"),
    (["evaluate", "--model", "MODEL", "--out", "o"], 2, "expected --model and --data, or"),
    (["evaluate", "--detections", "file", "--out", "o"], 2, "--ground-truth is missing"),
    ([*FILES, "nowhere.json"], 2, "nowhere.json does not exist; expected a JSON file"),
    ([*FILES, "MODEL"], 2, "is a folder; expected a JSON file"),
    ([*FILES, "file"], 3, "file: not valid JSON"),
    ([*FILES, "file", "--set", "evaluate.split=val"], 2, "evaluate.split has no effect on"),
    ([*IMPORT, "mindspor", "file"], 2, "unknown layout 'mindspor'; did you mean 'mindspore'?"),
    ([*IMPORT, "mindspore", "nowhere"], 2, "does not exist; expected a file of weights"),
    ([*IMPORT, "mindspore", "MODEL"], 2, "is a folder; expected a file of weights"),
    ([*IMPORT, "mindspore", "file"], 3, "file: not a checkpoint of MindSpore, or damaged"),
    ([*PREDICT], 2, "missing argument"),
    ([*PREDICT, "nowhere.jpg"], 2, "nowhere.jpg"),
    ([*PREDICT, "empty"], 2, "empty"),
    (
        [*PREDICT, "SOURCE", "--score", "0"],
        2,
        "invalid value for '--score': input should be greater",
    ),
    ([*PREDICT, "SOURCE", "--score", "1"], 2, "invalid value for '--score': input should be less"),
    ([*PREDICT, "SOURCE", "--tile", "0"], 2, "invalid value for '--tile': input should be greater"),
    ([*PREDICT, "SOURCE", "--tile-overlap", "1"], 2, "invalid value for '--tile-overlap': input"),
    ([*PREDICT, "SOURCE", "--batch-size", "0"], 2, "invalid value for '--batch-size': input"),
    ([*PREDICT, "SOURCE", "--score", "high"], 2, "invalid value for '--score'"),
    ([*BENCHMARK, "--fail-on-regression", "5"], 2, "compares with earlier results; add --series"),
    ([*BENCHMARK, "--series", "s", "--fail-on-regression", "-1"], 2, "invalid value for '--fail"),
    (
        [*BENCHMARK, "--series", "s", "--fail-on-regression", "5", "--set", f"{REGRESSION}=9"],
        2,
        f"--fail-on-regression and --set {REGRESSION} both set",
    ),
    ([*BENCHMARK, "--set", "benchmark.tolerance=1"], 2, "set benchmark.fail_on_regression to"),
    (["inspect", "--data", "DATA", "--out", "o", "--recipe", "x"], 2, "unknown recipe 'x'"),
    (["inspect", "--data", "DATA", "--out", "o", "--set", "a.b=1"], 2, "has no recipe to change"),
    (["export", "MODEL", "--out", "o"], 2, "missing option '--format'"),
    ([*EXPORT, "onx"], 2, "unknown format 'onx'; did you mean 'onnx'?"),
    ([*EXPORT, "mindir"], 2, "mindspore is not installed here: make setup-mindspore"),
    ([*EXPORT, "air", "--framework", "torch"], 2, "not write format 'air'; use --framework minds"),
    ([*EXPORT, "torchscript", "--images", "empty"], 2, "empty: the folder has no images"),
    ([*EXPORT, "torchscript", "--images", "file"], 3, "file: "),
    (["export", "nowhere", "--format", "torchscript", "--out", "o"], 2, "nowhere does not exist"),
    (["report", "nowhere", "--out", "o"], 2, "nowhere does not exist; expected the output dir"),
    (["report", "empty", "--out", "o"], 2, "has no invocation.json"),
    (["report", "broken", "--out", "o"], 3, "is not JSON"),
    (["check", "SOURCE", "--format", "mindrecord"], 2, "'mindrecord' is not one of 'auto', 'coco'"),
    (["report", "foreign", "--out", "o"], 3, "has format version None"),
    (["report", "MODEL", "MODEL", "--out", "o"], 2, "are both of stage 'train'"),
    (["report", "DATA", "--out", "o"], 2, "is of stage 'convert'; expected one of train, import-w"),
    (["compare", "nowhere", "nowhere"], 2, "does not exist; expected the output of 'ssd evaluate'"),
    (
        ["compare", "MODEL", "MODEL"],
        2,
        "is of stage 'train'; expected the output of 'ssd evaluate'",
    ),
    (["history", "nowhere"], 2, "holds no measurements; 'ssd benchmark --series DIR' adds one"),
    (["recipes", "--explain"], 2, "--explain and --set expect the NAME of a recipe"),
    ([*TRAIN, "demo", "--resume", "maybe"], 2, "unknown --resume rule 'maybe'; known: auto"),
    (["recipes", "demoo"], 2, "did you mean 'demo'?"),
    (["recipes", "demo", "--set", "a"], 2, "is not of the form section.key=value"),
    (["verify", "nowhere"], 2, "nowhere: the directory does not exist"),
    (["verify", "file"], 2, "file: the directory does not exist"),
    (["verify", "empty"], 2, "contains neither a converted data set"),
    (["verify", "broken"], 3, "damaged or missing file"),
    *(
        ([*each, "--data", "DATA", "--out", "DATA/o"], 2, "inside the data set")
        for each in READ_DATA
    ),
    (["gc", "nowhere", "--dry-run"], 2, "nowhere: the directory does not exist"),
    (["gc", "ftp://host/data"], 2, "is not supported here"),
]


def make_table() -> list[tuple[list[str], int, str]]:
    """Return the arguments of each command, its exit code, and a part of its message."""
    table = [([verb, "--nonsense"], 2, "no such option: --nonsense") for verb in VERBS]
    table += [(["trian"], 2, "Did you mean 'train'?"), (["-x"], 2, "no such option: -x")]
    for verb in ("check", "convert"):
        table += [([verb, path, "--out", "o"], 2, part) for path, part in SOURCES.items()]
        table += [([verb, "SOURCE", "--out", path], 2, part) for path, part in OUTS.items()]
        table += [([verb, "empty", "--out", "o"], 3, "error")]
    for options, (code, part) in OPTIONS.items():
        table.append((["convert", "SOURCE", "--out", "o", *options.split()], code, part))
    for path, (code, part) in DATA.items():
        for command in READ_DATA:
            table.append(([*command, "--data", path, "--out", "o"], code, part))
    for path, (code, part) in MODELS.items():
        for command in READ_MODEL:
            table.append(([*command, "--model", path, "--out", "o"], code, part))
    for path, part in list(OUTS.items())[:-1]:
        for command in READ_DATA:
            table.append(([*command, "--data", "DATA", "--out", path], 2, part))
        for command in READ_MODEL[1:]:
            table.append(([*command, "--model", "MODEL", "--out", path], 2, part))
        table.append((["report", "MODEL", "--out", path], 2, part))
    return [*table, *COMMANDS]


TABLE = make_table()


@pytest.fixture(scope="module")
def outcomes(
    few_images: Path,
    bccd_shards: Path,
    trained_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[int, str]]:
    """Return the exit code and the error output of every command of the table."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "file").write_text("text")
    (folder / "loop").symlink_to("loop")
    for name in ("empty", "broken", "nested", "foreign"):
        (folder / name).mkdir()
    for name in ("manifest.json", "config.json", "invocation.json", "weights.safetensors"):
        (folder / "broken" / name).write_text('{"cut')
    (folder / "nested/manifest.json").write_text("[" * 100_000)
    (folder / "foreign/manifest.json").write_text('{"schema_version": 99}')
    (folder / "foreign/invocation.json").write_text('{"stage": "evaluate", "version": "0.0.0"}')
    (folder / "foreign/results.json").write_text('{"accuracy": 1}')
    paths = {"SOURCE": few_images, "DATA": bccd_shards, "MODEL": trained_dir}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder],
        input=json.dumps(
            [
                [fill_in(each, paths | {"o": Path(f"out-{number}")}) for each in arguments]
                for number, (arguments, _, _) in enumerate(TABLE)
            ]
        ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def fill_in(argument: str, paths: dict[str, Path]) -> str:
    first, slash, rest = argument.partition("/")
    return f"{paths[first]}{slash}{rest}" if first in paths else argument


@pytest.mark.parametrize("number", range(len(TABLE)), ids=lambda n: " ".join(TABLE[n][0])[:90])
def test_an_invalid_argument_ends_with_one_line(
    outcomes: list[tuple[int, str]], number: int
) -> None:
    _, expected_code, part = TABLE[number]
    code, errors = outcomes[number]
    assert "Traceback" not in errors
    assert code == expected_code, errors
    *before, last = errors.splitlines()
    assert last.startswith("error: ")
    assert part in last
    assert not [line for line in before if line.startswith("error")]
    assert code != 2 or len(before) <= 3, "arguments are checked before the work begins"
