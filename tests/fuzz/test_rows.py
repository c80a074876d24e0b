"""Rows of MindRecord files that other programs have written: a sample, or an error in one line."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssd_core.data.shards.files import Limits
from ssd_core.data.shards.mindrecord.format import SCHEMA, read_row
from tests.fuzz.mutations import examples, only_our_errors

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**31), 2**31 - 1), st.floats(width=32))
LISTS = [name for name, column in SCHEMA.items() if column.get("shape", [])[:1] == [-1]]


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Return a row as MindSpore does: of the types in the schema, an empty list as a scalar."""
    row: dict[str, Any] = {"image": np.zeros(3, np.uint8), "image_path": np.array("a.jpg")}
    for name in ("image_id", "width", "height", "img_id"):
        row[name] = np.array(draw(st.integers(-3, 2**31 - 1)))
    for name in LISTS:
        width = SCHEMA[name]["shape"][-1]
        count = draw(st.integers(0, 3)) * max(width, 1)
        values = np.array(draw(st.lists(NUMBERS, min_size=count, max_size=count)))
        with np.errstate(invalid="ignore", over="ignore"):
            typed = np.nan_to_num(values).astype(SCHEMA[name]["type"]) if count else np.array(0)
        row[name] = typed.reshape(-1, width) if width > 0 and count else typed
    if draw(st.booleans()):
        del row["annotation"]
    return row


@examples(200)
@given(row=rows())
def test_any_row(row: dict[str, Any]) -> None:
    with only_our_errors():
        sample, _ = read_row(row, "row 1")
        objects = sample.annotations
        sizes = np.array([[sample.width, sample.height]])
        Limits(num_classes=2, max_boxes=9).find_fault(objects, np.array([len(objects)]), sizes)
        assert len(objects.select(~objects.is_crowd)) <= len(objects)
