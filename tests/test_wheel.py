"""The package as others install it: built from the tree, in an environment without the checkout."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the source distribution, without an index."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def ssd(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel; it sees the packages of this environment, but not the checkout."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home)
    site_dir = Path(sysconfig.get_path("purelib", "venv", {"base": str(home)}))
    (wheel,) = dist.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--no-index")
    run(*pip, "--no-deps", wheel, cwd=home)
    (site_dir / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    where = run(home / "bin/python", "-c", "import ssd_core; print(ssd_core.__file__)", cwd=home)
    assert Path(where.strip()).parent == site_dir / "ssd_core"
    return home / "bin/ssd"


def test_every_file_of_the_package_is_packed(dist: Path) -> None:
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    listed = run(*listing, "ssd_core", "README.md", "LICENSE", cwd=ROOT).split()
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {name for name in listed if name.startswith("ssd_core/")}
    with tarfile.open(source) as archive:
        unpacked = {name.partition("/")[2] for name in archive.getnames()}
    assert unpacked - set(listed) == {"PKG-INFO", "pyproject.toml", ".gitignore"}
    assert unpacked > set(listed)


def test_the_commands_work_elsewhere(ssd: Path, few_images: Path, tmp_path: Path) -> None:
    assert "convert" in run(ssd, "--help", cwd=tmp_path)
    assert "demo" in run(ssd, "recipes", cwd=tmp_path)
    run(ssd, "convert", few_images, "--out", "shards", cwd=tmp_path)
    run(ssd, "verify", "shards", cwd=tmp_path)
    run(ssd, "inspect", "--data", "shards", "--recipe", "demo", "--out", "page", cwd=tmp_path)
    assert (tmp_path / "page/inspect.html").is_file()
