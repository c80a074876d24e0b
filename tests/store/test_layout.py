from pathlib import Path

import pytest

from ssd_core.errors import UsageError
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.layout import Layout


@pytest.mark.parametrize("root", ["/data/ssd", "file:///data/ssd"])
def test_the_layout(root: str) -> None:
    layout = Layout(root)
    assert layout.dataset("ab12") == LocalDirectory(Path("/data/ssd/datasets/ab12"))
    assert layout.training("cd34") == LocalDirectory(Path("/data/ssd/training/cd34"))
    assert layout.run("r-1", "evaluate") == LocalDirectory(Path("/data/ssd/runs/r-1/evaluate"))
    assert layout.benchmarks("nightly") == LocalDirectory(Path("/data/ssd/benchmarks/nightly"))
    assert layout.model("cells", "1.0") == LocalDirectory(Path("/data/ssd/models/cells/1.0"))


def test_a_relative_root_stays_relative() -> None:
    assert Layout("runs_here").training("x").local == Path("runs_here/training/x")


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/abs", ".hidden", "nul\0"])
def test_a_name_cannot_leave_its_directory(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid name"):
        Layout("/data").model("cells", name)


def test_the_layout_in_a_store() -> None:
    layout = Layout("s3://bucket/ssd/")
    assert layout.dataset("ab12") == Location.parse("s3://bucket/ssd/datasets/ab12")
    assert layout.run("r-1", "evaluate") == Location.parse("s3://bucket/ssd/runs/r-1/evaluate")
    assert Layout("s3://bucket").training("x") == Location.parse("s3://bucket/training/x")


def test_an_unsupported_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="gs://"):
        Layout("gs://bucket/ssd").dataset("ab12")
