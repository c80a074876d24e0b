"""Wrong words and wrong places against every verb of `ssd`: one line, the right code, no trace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_core.cli.app import app

# A process of its own imports once what the commands need, and forks for each of them.
DRIVER = """
import json, os, sys
from ssd_core.cli.app import main
from ssd_core.stages import check, convert, evaluate, inspect, train

def run_in_fork(words, number):
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(f"{number}.out", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(os.open(f"{number}.err", os.O_WRONLY | os.O_CREAT), 2)
        sys.argv[:] = ["ssd", *words]
        try:
            main()
        except SystemExit as stop:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code)
        os._exit(99)
    return os.waitstatus_to_exitcode(os.wait()[1])

os.chdir(sys.argv[1])
for number, words in enumerate(json.load(sys.stdin)):
    code = run_in_fork(words, number)
    said = open(f"{number}.err", errors="replace").read()
    print(json.dumps([code, said]), flush=True)
"""

LONG = "x" * 300
SOURCES = {
    "nowhere": "does not exist; expected a folder with a data set",
    "file": "is not a folder",
    "loop": "does not exist",
    LONG: "does not exist",
    "": "the name of a place is empty",
    "http://host/data": "cannot be used here",
    "s3://": "bucket",
}
DATA = {
    "nowhere": (3, "holds no converted data set"),
    "empty": (3, "holds no converted data set"),
    "file": (3, "holds no converted data set"),
    "broken": (3, "is not JSON"),
    "nested": (3, "nested too deeply"),
    "foreign": (3, "schema version 99"),
    "": (2, "the name of a place is empty"),
    "ftp://host/data": (2, "cannot be used here"),
}
MODELS = {
    "nowhere": (2, "no such model directory"),
    "file": (2, "no such model directory"),
    "empty": (3, "config.json is missing"),
    "broken": (3, "config.json"),
}
OUTS = {
    "file": "cannot write there",
    "file/below": "cannot write there",
    "loop": "cannot write there",
    LONG: "file name too long",
    "/proc/below": "cannot write there",
    "": "the name of a place is empty",
    "http://host/out": "cannot be used here",
    "SOURCE/out": "lies inside the source",
}
OPTIONS = {
    "--format coc": (2, "invalid value for '--format': 'coc' is not one of 'auto', 'coco'"),
    "--policy lenient": (2, "invalid value for '--policy'"),
    "--crowd some": (2, "invalid value for '--crowd'"),
    "--shards parquet": (2, "invalid value for '--shards'"),
    "--txt-order zx": (2, "invalid value for '--txt-order'"),
    "--voc-offset 2": (2, "convert.voc_offset: input should be 0 or 1, got 2"),
    "--voc-offset one": (2, "invalid value for '--voc-offset'"),
    "--workers 0": (2, "invalid value for '--workers'"),
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
    "--classes ,": (2, "has no name"),
    "--classes a=": (2, "neither a name nor old=new"),
    "--classes WBC,WBC": (2, "names a class twice"),
    "--classes wbc": (2, "unknown class 'wbc'; known: Platelets, RBC, WBC"),
    "--set convert.polcy=skip": (2, "did you mean 'convert.policy'?"),
    "--set polcy=skip": (2, "'polcy=skip' is not of the form section.key=value"),
    "--set convert=3": (2, "'convert=3' is not of the form section.key=value"),
    "--set convert.max_pixels=0": (2, "convert.max_pixels: input should be greater than 0, got 0"),
    "--set convert.max_skipped=2": (2, "convert.max_skipped: "),
    "--set convert.max_pixels=1e400": (2, "convert.max_pixels: "),
    "--set train.steps=1": (2, "unknown section 'train'; known: convert"),
    "--set convert.policy": (2, "is not of the form section.key=value"),
    "--set convert.max_pixels=9": (3, "at most 9 are accepted (convert.max_pixels)"),
    "--polcy skip": (2, "no such option: --polcy"),
    "more": (2, "got unexpected extra argument"),
}

VERBS = [command.callback.__name__ for command in app.registered_commands if command.callback]


TRAIN = ["train", "--data", "DATA", "--out", "o", "--recipe"]
EVALUATE = ["evaluate", "--model", "MODEL", "--data", "DATA", "--out", "o"]
PREDICT = ["predict", "--model", "MODEL", "--out", "o"]
WORDS = [
    ([*TRAIN, "demoo"], 2, "unknown recipe 'demoo'; did you mean 'demo'?"),
    ([*TRAIN, "demo", "--set", "train.epoch=1"], 2, "did you mean 'train.epochs'?"),
    ([*TRAIN, "demo", "--set", "train.epochs=x"], 2, "train.epochs: "),
    ([*TRAIN, "demo", "--device", "gpu"], 2, "'gpu'"),
    ([*TRAIN, "demo", "--framework", "tourch"], 2, "did you mean 'torch'?"),
    ([*TRAIN, "demo", "--framework", "tourch", "--num-devices", "2"], 2, "did you mean"),
    ([*TRAIN, "demo", "--framework", "mindspore"], 2, "cannot train or detect yet"),
    ([*TRAIN, "demo", "--set", "evaluate.split=val"], 2, "unknown section 'evaluate'"),
    ([*EVALUATE, "--set", "benchmark.seconds=1"], 2, "unknown section 'benchmark'"),
    ([*EVALUATE, "--set", "evaluate.split=test"], 2, "evaluate.split: "),
    ([*EVALUATE, "--device", "gpu"], 2, "'gpu'"),
    ([*PREDICT], 2, "missing argument"),
    ([*PREDICT, "nowhere.jpg"], 2, "nowhere.jpg"),
    ([*PREDICT, "empty"], 2, "empty"),
    ([*PREDICT, "SOURCE", "--score", "2"], 2, "invalid value for '--score'"),
    ([*PREDICT, "SOURCE", "--score", "high"], 2, "invalid value for '--score'"),
    (["inspect", "--data", "DATA", "--out", "o", "--recipe", "x"], 2, "unknown recipe 'x'"),
    (["inspect", "--data", "DATA", "--out", "o", "--set", "a.b=1"], 2, "changes no recipe"),
    (["report", "nowhere", "--out", "o"], 2, "no invocation.json here"),
    (["report", "empty", "--out", "o"], 2, "no invocation.json here"),
    (["report", "broken", "--out", "o"], 3, "is not JSON"),
    (["report", "foreign", "--out", "o"], 3, "has format version None"),
    (["recipes", "demoo"], 2, "did you mean 'demo'?"),
    (["recipes", "demo", "--set", "a"], 2, "is not of the form section.key=value"),
    (["verify", "nowhere"], 2, "nowhere: no such directory"),
    (["verify", "file"], 2, "file: no such directory"),
    (["verify", "empty"], 3, "holds neither a converted data set nor a model"),
    (["verify", "broken"], 3, "is damaged in "),
    (["gc", "nowhere", "--dry-run"], 2, "nowhere: no such directory"),
    (["gc", "ftp://host/data"], 2, "cannot be used here"),
]


def make_table() -> list[tuple[list[str], int, str]]:
    """Return the words of a command, its exit code, and a part of its message."""
    table = [([verb, "--nonsense"], 2, "no such option: --nonsense") for verb in VERBS]
    table += [(["trian"], 2, "Did you mean 'train'?"), (["-x"], 2, "no such option: -x")]
    for verb in ("check", "convert"):
        table += [([verb, place, "--out", "o"], 2, said) for place, said in SOURCES.items()]
        table += [([verb, "SOURCE", "--out", place], 2, said) for place, said in OUTS.items()]
        table += [([verb, "empty", "--out", "o"], 3, "error")]
    for words, (code, said) in OPTIONS.items():
        table.append((["convert", "SOURCE", "--out", "o", *words.split()], code, said))
    recipe = ["--recipe", "demo"]
    for place, (code, said) in DATA.items():
        table.append((["inspect", "--data", place, "--out", "o"], code, said))
        table.append((["train", "--data", place, *recipe, "--out", "o"], code, said))
        model = ["--model", "MODEL", "--out", "o"]
        table.append((["evaluate", "--data", place, *model], code, said))
        table.append((["benchmark", "--data", place, *model], code, said))
    for place, (code, said) in MODELS.items():
        table.append((["evaluate", "--model", place, "--data", "DATA", "--out", "o"], code, said))
        table.append((["benchmark", "--model", place, "--out", "o"], code, said))
        table.append((["predict", "--model", place, "SOURCE", "--out", "o"], code, said))
    for place, said in list(OUTS.items())[:-1]:
        table.append((["inspect", "--data", "DATA", "--out", place], 2, said))
        table.append((["train", "--data", "DATA", *recipe, "--out", place], 2, said))
        table.append((["evaluate", "--model", "MODEL", "--data", "DATA", "--out", place], 2, said))
        table.append((["benchmark", "--model", "MODEL", "--out", place], 2, said))
        table.append((["predict", "--model", "MODEL", "SOURCE", "--out", place], 2, said))
        table.append((["report", "MODEL", "--out", place], 2, said))
    return [*table, *WORDS]


TABLE = make_table()


@pytest.fixture(scope="module")
def answers(
    few_photographs: Path,
    bccd_shards: Path,
    trained_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[int, str]]:
    """Return the exit code and the standard error of every command of the table."""
    folder = tmp_path_factory.mktemp("words")
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
    places = {"SOURCE": few_photographs, "DATA": bccd_shards, "MODEL": trained_dir}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, folder],
        input=json.dumps(
            [
                [put(word, places | {"o": Path(f"out-{number}")}) for word in words]
                for number, (words, _, _) in enumerate(TABLE)
            ]
        ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def put(word: str, places: dict[str, Path]) -> str:
    first, slash, rest = word.partition("/")
    return f"{places[first]}{slash}{rest}" if first in places else word


@pytest.mark.parametrize("number", range(len(TABLE)), ids=lambda n: " ".join(TABLE[n][0])[:90])
def test_one_line_says_what_is_wrong(answers: list[tuple[int, str]], number: int) -> None:
    _, expected_code, part = TABLE[number]
    code, said = answers[number]
    assert "Traceback" not in said
    assert code == expected_code, said
    *before, last = said.splitlines()
    assert last.startswith("error: ")
    assert part in last
    assert not [line for line in before if line.startswith("error")]
    assert code != 2 or len(before) <= 3, "wrong words are seen before the work begins"
