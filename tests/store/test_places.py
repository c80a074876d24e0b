from pathlib import Path

import pytest

from ssd_core.errors import UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.places import Places


@pytest.mark.parametrize("root", ["/data/ssd", "file:///data/ssd"])
def test_the_layout(root: str) -> None:
    places = Places(root)
    assert places.dataset("ab12") == LocalDirectory(Path("/data/ssd/datasets/ab12"))
    assert places.training("cd34") == LocalDirectory(Path("/data/ssd/training/cd34"))
    assert places.run("r-1", "evaluate") == LocalDirectory(Path("/data/ssd/runs/r-1/evaluate"))
    assert places.benchmarks("nightly") == LocalDirectory(Path("/data/ssd/benchmarks/nightly"))
    assert places.model("cells", "1.0") == LocalDirectory(Path("/data/ssd/models/cells/1.0"))


def test_a_relative_root_stays_relative() -> None:
    assert Places("runs_here").training("x").local == Path("runs_here/training/x")


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/abs", ".hidden", "nul\0"])
def test_a_name_cannot_leave_its_directory(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name"):
        Places("/data").model("cells", name)


def test_the_layout_in_a_store() -> None:
    places = Places("s3://bucket/ssd/")
    assert places.dataset("ab12") == Location.parse("s3://bucket/ssd/datasets/ab12")
    assert places.run("r-1", "evaluate") == Location.parse("s3://bucket/ssd/runs/r-1/evaluate")
    assert Places("s3://bucket").training("x") == Location.parse("s3://bucket/training/x")


def test_an_unsupported_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="gs://"):
        Places("gs://bucket/ssd").dataset("ab12")
