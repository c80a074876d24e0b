"""Write an archive of small artifacts of the version in the current folder: see README.md."""

import itertools
import json
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import safetensors.numpy
from PIL import Image

QUICK = ("train.model.image_size=64", "train.batch_size=2", "train.checkpoint_interval=2")
MEASURED = ("benchmark.seconds=0.05", "benchmark.batch_sizes=[1]")
SERVER = ("tests.pipelines.cluster.kfp_server", "tests.pipelines.kfp_server")
"""Where a version has its stand-in for the server of Kubeflow Pipelines."""


def write_source(folder: Path) -> None:
    """Write four images with a rectangle each, two of them for evaluation."""
    folder.mkdir()
    for number in range(4):
        pixels = np.full((64, 64, 3), 200, np.uint8)
        pixels[16:40, 8 + 8 * number : 32 + 8 * number] = 60 * number, 40, 90
        Image.fromarray(pixels).save(folder / f"{number}.png")
        with (folder / f"{'train' if number < 2 else 'val'}.txt").open("a") as lines:
            lines.write(f"{number}.png {8 + 8 * number},16,{32 + 8 * number},40,1\n")


def write_zeros(saves: int | None) -> None:
    """Let every array be written as zeros; kill this process instead of the given write."""
    save, numbers = safetensors.numpy.save, itertools.count(1)

    def save_zeros(arrays, **options):
        if next(numbers) == saves:
            os.kill(os.getpid(), signal.SIGKILL)
        return save({name: np.zeros_like(array) for name, array in arrays.items()}, **options)

    safetensors.numpy.save = save_zeros


def ssd(*words: str, changes: tuple[str, ...] = (), saves: int | None = None) -> None:
    """Run `ssd` of the version in the current folder, from the folder of the artifacts."""
    options = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, __file__, "ssd", str(saves or ""), *words, *options]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": CHECKOUT}, cwd=OUT)
    assert done.returncode == (-signal.SIGKILL if saves else 0)


def run_ssd(saves: str, words: list[str]) -> None:
    write_zeros(int(saves) if saves else None)
    sys.argv = ["ssd", *words]
    import_module("ssd_core.cli.app").main()


def write_schedule(path: Path) -> None:
    """Write the schedule that `python -m pipelines schedule` creates in a server."""
    sys.path.insert(0, CHECKOUT)
    modules = {name: Path(CHECKOUT, *name.split(".")).with_suffix(".py") for name in SERVER}
    module = next(name for name, path in modules.items() if path.exists())
    kfp = import_module(module)
    with kfp.running(kfp.KfpServer()) as server:
        words = ["schedule", "nightly", "--cron=0 0 3 * * *", "--pipeline=benchmark"]
        words += ["--model=s3://detectors/models/cells/1", "--series=nightly"]
        words += ["--root=s3://detectors", "--placement=torch-cpu", f"--endpoint={server.endpoint}"]
        subprocess.run([sys.executable, "-m", "pipelines", *words], check=True, cwd=CHECKOUT)
        path.write_text(json.dumps(server.recurring_runs))


def main() -> None:
    write_source(OUT / "source")
    ssd("convert", "source", "--classes", "cell", "--out", "shards")
    training = ("train", "--data", "shards", "--recipe", "demo")
    ssd(*training, "--out", "interrupted", changes=(*QUICK, "train.steps=20"), saves=5)
    ssd(*training, "--out", "trained", changes=(*QUICK, "train.steps=2"))
    ssd("evaluate", "--model", "trained", "--data", "shards", "--out", "evaluation")
    measured = ("--model", "trained", "--series", "series", "--out", "speed")
    ssd("benchmark", *measured, changes=MEASURED)
    write_schedule(OUT / "schedule.json")
    subprocess.run(["tar", "--create", "--xz", "--file", sys.argv[1], *os.listdir(OUT)], cwd=OUT)


if __name__ == "__main__":
    if sys.argv[1] == "ssd":
        run_ssd(sys.argv[2], sys.argv[3:])
    else:
        CHECKOUT, OUT = str(Path.cwd()), Path("/srv/upgrades")
        OUT.mkdir()
        main()
