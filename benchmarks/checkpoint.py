"""The pause of a training by a checkpoint of SSD300-VGG16, beside that of writing its bytes.

Ours copies the arrays from the learner, checks that they are finite, writes and verifies the files,
and removes an earlier checkpoint. The peer writes files of the same bytes, waits until the disk has
them, hashes them and removes those of the round before.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.interleaved import compare
from benchmarks.script import Measurement, Size, main, ratio
from ssd_core import __version__
from ssd_core.backends.torch.backend import TorchBackend
from ssd_core.model_dir import ModelDescription
from ssd_core.recipes import load_recipe
from ssd_core.store import LocalDirectory
from ssd_core.structures import ClassInfo
from ssd_core.training.checkpoints import CheckpointDir, TrainState
from ssd_core.training.loop import _save
from ssd_core.training.run import Run

_NUM_CLASSES = 80


def measure(size: Size) -> Iterator[Measurement]:
    """Yield the row."""
    size.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=size.work_dir) as folder:
        run, state = open_run(Path(folder) / "ours"), TrainState()
        other = Path(folder) / "theirs"
        other.mkdir()

        def pause() -> Path:
            state.step += 1
            _save(run, state)
            return newest(run)

        contents = {path.name: path.read_bytes() for path in pause().glob("*.safetensors")}

        def write() -> dict[str, str]:
            digests = {}
            for name, content in contents.items():
                (other / name).unlink(missing_ok=True)
                with (other / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                digests[name] = hashlib.sha256(content).hexdigest()
            return digests

        def check(step_dir: Path, digests: dict[str, str]) -> None:
            for name, digest in digests.items():
                assert hashlib.sha256((step_dir / name).read_bytes()).hexdigest() == digest

        yield ratio("checkpoint", compare(pause, write, check=check, rounds=size.rounds))


def open_run(directory: Path) -> Run:
    """Return a training with checkpoints in a directory, and no data."""
    recipe = load_recipe("ssd300_vgg16")
    description = ModelDescription(
        recipe=recipe,
        framework="torch",
        num_classes=_NUM_CLASSES,
        step=0,
        training_id="0" * 16,
        dataset_digest="0" * 64,
        core_version=__version__,
    )
    classes = [
        ClassInfo(label=n, name=f"class {n}", category_id=n) for n in range(1, _NUM_CLASSES + 1)
    ]
    checkpoints = CheckpointDir(LocalDirectory(directory / "checkpoints"), description, classes)
    checkpoints.resume()
    return Run(
        config=recipe.train,
        num_images=1,
        learner=TorchBackend("cpu", "fp32").learner(recipe.train, _NUM_CLASSES),
        batches=lambda first, last: iter(()),
        name_images=lambda step: [],
        checkpoints=checkpoints,
        log_path=directory / "train_log.jsonl",
        facts={},
    )


def newest(run: Run) -> Path:
    """Return the folder of the newest checkpoint."""
    directory = run.checkpoints.last_dir
    assert directory is not None
    assert directory.local is not None
    return directory.local


if __name__ == "__main__":
    main(measure)
