"""How the data commands read their words."""

from pathlib import Path

import pytest

from ssd_core.cli.data import _read_classes
from ssd_core.errors import UsageError


def test_classes_come_from_words_or_from_a_file(tmp_path: Path) -> None:
    assert _read_classes(None) is None
    assert _read_classes("cat, dog=hound,") == ["cat", "dog=hound"]
    names = [f"class {number}" for number in range(100)]
    assert _read_classes(",".join(names)) == names  # longer than any file name
    (tmp_path / "names").write_text("cat\n\n dog \n")
    assert _read_classes(str(tmp_path / "names")) == ["cat", "dog"]
    (tmp_path / "image").write_bytes(b"\xff\xd8")
    with pytest.raises(UsageError, match="image: is not UTF-8; expected a name a line"):
        _read_classes(str(tmp_path / "image"))
