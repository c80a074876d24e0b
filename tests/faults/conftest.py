"""What tests share that start trainings and end them badly."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ssd_core


@pytest.fixture(scope="module")
def code_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a copy of the code: an edit while the tests run would make it another training."""
    path = tmp_path_factory.mktemp("code")
    shutil.copytree(Path(ssd_core.__file__).parent, path / "ssd_core")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path
