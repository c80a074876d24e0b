"""The reader of all YAML files."""

from typing import Any

import pytest

from ssd_core.config.yaml_text import parse_yaml
from ssd_core.errors import DataError


@pytest.mark.parametrize(
    ("content", "values", "texts"),
    [
        ("a: [1, yes, ~]", {"a": [1, True, None]}, {"a": ["1", "yes", "~"]}),
        (b'{"a": 1.5}', {"a": 1.5}, {"a": "1.5"}),
        ("a: &a 1\nb: *a", {"a": 1, "b": 1}, "has references"),
        ("a: 2024-99-99", "is not YAML: month must be", {"a": "2024-99-99"}),
        *((f"a: !!{tag} x", "is not YAML: ", {"a": "x"}) for tag in ("timestamp", "int", "bool")),
        ("a: [1", *["line 1 column 6: expected ',' or ']'"] * 2),
        (b"a: \xff", *["is not YAML: "] * 2),
        ("- " * 1000, *["is nested too deeply"] * 2),
        ("!!python/object:os.system x", "line 1 column 1: ", "x"),
    ],
)
def test_values_and_texts(content: bytes | str, values: Any, texts: Any) -> None:
    for as_text, expected in ((False, values), (True, texts)):
        if isinstance(expected, str) and expected != "x":
            with pytest.raises(DataError) as caught:
                parse_yaml(content, as_text=as_text)
            assert str(caught.value).startswith(expected)
            assert "\n" not in str(caught.value)
        else:
            assert parse_yaml(content, as_text=as_text) == expected
