"""The file of detections: it is read as it was written, and as pycocotools reads it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_core.errors import DataError
from ssd_core.evaluation.detections_file import parse_detections, write_detections
from ssd_core.structures import ClassInfo
from tests.detections import NOTHING_FOUND, make_detections

CLASSES = [
    ClassInfo(label=1, name="cat", category_id=17),
    ClassInfo(label=2, name="dog", category_id=3),
]


TWO = make_detections([[1, 2, 4, 8], [0, 0, 640, 480]], [0.75, 0.5], [2, 1])


def test_rows_have_the_ids_of_the_source_and_sides_instead_of_corners(tmp_path):
    write_detections(tmp_path / "d.json", [(7, NOTHING_FOUND), (9, TWO)], CLASSES)
    assert json.loads((tmp_path / "d.json").read_text()) == [
        {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 6], "score": 0.75},
        {"image_id": 9, "category_id": 17, "bbox": [0, 0, 640, 480], "score": 0.5},
    ]


@pytest.mark.parametrize("found", [[], [(7, NOTHING_FOUND)]])
def test_nothing_found_is_an_empty_list(tmp_path, found):
    write_detections(tmp_path / "d.json", found, CLASSES)
    assert json.loads((tmp_path / "d.json").read_text()) == []
    assert parse_detections((tmp_path / "d.json").read_bytes(), CLASSES, score_threshold=0.1) == {}


@settings(deadline=None)
@given(
    # Down to 2^-16 px: double precision holds the difference to 2000 px exactly.
    st.lists(st.just(0.0) | st.floats(2**-16, 2000, width=32), min_size=4, max_size=4),
    st.floats(2**-20, 1, width=32),
)
def test_what_is_written_is_read_bit_by_bit(tmp_path_factory, box, score):
    path = tmp_path_factory.getbasetemp() / "any.json"
    written = make_detections([box], [score], [2])
    write_detections(path, [(-3, written)], CLASSES)
    found = parse_detections(path.read_bytes(), CLASSES, score_threshold=0)[-3]
    np.testing.assert_array_equal(found.boxes, written.boxes)
    np.testing.assert_array_equal(found.scores, written.scores)
    np.testing.assert_array_equal(found.labels, written.labels)


def test_low_scores_are_left_out(tmp_path):
    write_detections(tmp_path / "d.json", [(7, TWO), (9, TWO)], CLASSES)
    found = parse_detections((tmp_path / "d.json").read_bytes(), CLASSES, score_threshold=0.75)
    assert {key: image.labels.tolist() for key, image in found.items()} == {7: [2], 9: [2]}
    assert parse_detections((tmp_path / "d.json").read_bytes(), CLASSES, score_threshold=0.8) == {}


ROW = '[{"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 0.5}]'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "evaluate again"),
        ('{"a": 1}', "evaluate again"),
        (ROW.replace('"category_id": 3', '"category_id": 4'), "has no category 4"),
        ("[" * 100_000, "evaluate again"),
        *((ROW.replace("0.5", score), "evaluate again") for score in ("NaN", "1e999", "2", "-1")),
        (ROW.replace("0.5", "null"), r"got `null` - at `\$\[0\].score`"),
        (ROW.replace("1, 1]", "1]"), "array` of length 4"),
        (ROW.replace("1, 1]", "1, 1e308]"), r"at `\$\[0\].bbox\[3\]`"),
        (ROW.replace("1,", '"1",', 1), "image_id"),
    ],
)
def test_damaged_content_is_described(content, message):
    with pytest.raises(DataError, match=message):
        parse_detections(content.encode(), CLASSES, score_threshold=0.1)
