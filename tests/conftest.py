"""Fixtures that many tests share: the bundled images, and a model trained on them."""

import shutil
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import ssd_core.backends.torch  # noqa: F401  sets how torch waits; must precede torch
from ssd_core.config import ConvertConfig
from ssd_core.store import LocalDirectory
from tests.requirements import missing


def pytest_configure() -> None:
    """Restore Ctrl-C, which shells disable for background processes and their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without MindSpore, skip the tests that need it, or fail them if it is required."""
    if item.get_closest_marker("mindspore") and find_spec("mindspore") is None:
        missing("mindspore", "MindSpore is not installed; run make test-mindspore")


@pytest.fixture(scope="session")
def bccd_dir() -> Path:
    """Return the bundled data set: VOC, 100 + 40 images, 3 classes."""
    return Path(__file__).parents[1] / "examples" / "bccd"


@pytest.fixture(scope="session")
def bccd_shards(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundled data set as shards; read only."""
    from ssd_core.stages import convert

    data_dir = tmp_path_factory.mktemp("bccd") / "shards"
    convert.run(ConvertConfig(), str(bccd_dir), LocalDirectory(data_dir))
    return data_dir


@pytest.fixture(scope="session")
def trained_dir(bccd_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output of a training of 40 steps, enough for some correct detections."""
    from ssd_core.recipes import load_recipe
    from ssd_core.recipes.overrides import override
    from ssd_core.stages import train

    out_dir = tmp_path_factory.mktemp("trained") / "training"
    changes = ["steps=40", "batch_size=4", "log_interval=10", "evaluate_every=20"]
    recipe = override(load_recipe("demo"), [f"train.{change}" for change in changes])
    training = train.Training(recipe=recipe, data_dir=LocalDirectory(bccd_shards), device="cpu")
    train.run(training, LocalDirectory(out_dir))
    return out_dir


@pytest.fixture(scope="session")
def few_images(bccd_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a VOC data set of 8 + 4 of the bundled images; read only."""
    folder = tmp_path_factory.mktemp("few") / "images"
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for split, count in {"train": 8, "val": 4}.items():
        listing = f"ImageSets/Main/{split}.txt"
        names = (bccd_dir / listing).read_text().split()[:count]
        (folder / listing).write_text("\n".join(names) + "\n")
        for name in names:
            for file in (f"Annotations/{name}.xml", f"JPEGImages/{name}.jpg"):
                shutil.copy2(bccd_dir / file, folder / file)
    return folder


@pytest.fixture(scope="module")
def code_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a copy of the code, so that edits during the tests do not change the training id."""
    path = tmp_path_factory.mktemp("code")
    shutil.copytree(Path(ssd_core.__file__).parent, path / "ssd_core")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path
