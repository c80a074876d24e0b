"""TXT lists, good and bad."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ssd_core.data.formats import txt
from ssd_core.data.sources.folder import FolderSource
from ssd_core.errors import DataError, UsageError
from tests.data.formats.small_sources import put
from tests.data.formats.small_sources import read as read_folder

read = partial(read_folder, format="txt", val="train.txt")


def write(folder: Path, text: str | bytes) -> Path:
    images = {f"photos/{name}.jpg": "x" for name in ("a", "b", "my cat")}
    return put(folder, images | {"train.txt": text})


def test_lines_become_samples(tmp_path: Path) -> None:
    text = "\ufeffa.jpg 1,2,3,4,1  5.5,6,7,8,3\r\n\n# a comment\nmy cat.jpg\t1,1,2,2,1\nb.jpg\n"
    dataset, findings = read(write(tmp_path, text))
    assert not findings.counts
    assert [info.name for info in dataset.classes] == ["1", "2", "3"]
    split = dataset.splits["train"]
    samples = [split.sample(i) for i in range(len(split))]
    names = ["a.jpg", "my cat.jpg", "b.jpg"]
    assert [sample.image_path for sample in samples] == [f"photos/{name}" for name in names]
    assert samples[0].annotations.boxes.tolist() == [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    assert samples[0].annotations.labels.tolist() == [1, 3]
    assert samples[0].annotations.areas.tolist() == [4, 3]
    assert [sample.place for sample in samples] == [f"train.txt: line {i}" for i in (1, 4, 5)]
    assert len(samples[2].annotations) == 0
    assert (samples[2].width, samples[2].height) == (0, 0)


def test_y_first_is_read_like_the_reference_code(tmp_path: Path) -> None:
    dataset, _ = read(write(tmp_path, "a.jpg 1,2,3,40,1\n"), txt_order="yx")
    assert dataset.splits["train"].annotations.boxes.tolist() == [[2, 1, 40, 3]]


def test_names_for_numbers(tmp_path: Path) -> None:
    dataset, _ = read(write(tmp_path, "a.jpg 1,2,3,4,2\n"), classes=("cat", "dog", "owl"))
    assert [(c.name, c.category_id) for c in dataset.classes] == [
        ("cat", 1),
        ("dog", 2),
        ("owl", 3),
    ]
    assert dataset.splits["train"].annotations.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("field", "code", "detail"),
    [
        ("1,2,3,4", "object_malformed", "'1,2,3,4' is not xmin,ymin,xmax,ymax,class"),
        ("1,2,3,4,1,", "object_malformed", "'1,2,3,4,1,' is not xmin"),
        ("1,2,x,4,1", "object_malformed", "'1,2,x,4,1' is not xmin"),
        ("7", "object_malformed", "'7' is not xmin"),
        ("1,2,3,4,0", "class_unknown", "class 0, expected 1 to 2; add 1 to each class"),
        ("1,2,3,4,3", "class_unknown", "class 3, expected 1 to 2"),
        ("1,2,3,4,1.5", "class_unknown", "class 1.5, expected 1 to 2"),
        ("1,2,3,4,nan", "class_unknown", "class nan, expected 1 to 2"),
        ("1,2,3,4,1e300", "class_unknown", "expected 1 to 2"),
        ("1,2,3,4,-1", "class_unknown", "class -1, expected 1 to 2"),
        ("1,2,3,4,cat", "object_malformed", "'1,2,3,4,cat' is not xmin"),
        ("1;2;3;4;1", "object_malformed", "'1;2;3;4;1' is not xmin"),
        (",,,,", "object_malformed", "',,,,' is not xmin"),
        ("1,2,3,4,1", "row_twice", "the same object is already at train.txt: line 2: object 1"),
    ],
)
def test_bad_objects(tmp_path: Path, field: str, code: str, detail: str) -> None:
    write(tmp_path, f"b.jpg 1,1,2,2,2\na.jpg 1,2,3,4,1 {field}")
    dataset, findings = read(tmp_path, classes=("cat", "dog"), policy="repair")
    assert findings.counts == {code: 2}
    assert findings.listed[0].place == "train.txt: line 2: object 2"
    assert detail in findings.listed[0].detail
    assert dataset.splits["train"].annotations.labels.tolist() == [2, 1]
    dataset, _ = read(tmp_path, classes=("cat", "dog"), policy="skip")
    assert [entry.image_path for entry in dataset.splits["train"].images] == ["photos/b.jpg"]
    assert dataset.splits["train"].num_listed == 2


def test_numbers_that_are_not_finite_reach_the_checks(tmp_path: Path) -> None:
    dataset, findings = read(write(tmp_path, "a.jpg nan,2,3,4,1 1,inf,3,4,1 1,2,1e308,4,1\n"))
    assert not findings.counts
    assert not np.isfinite(dataset.splits["train"].annotations.boxes).all(axis=1).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no object has a class"),
        (b"a.jpg\nb.jpg\n", "no object has a class"),
        (b"a.jpg 1,2,3,4,1 \xff\n", "train.txt: is not text, expected UTF-8"),
        (b"elsewhere.jpg 1,2,3,4,1\n", r"the first: elsewhere.jpg.*--images"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path, content)
    with pytest.raises(DataError, match=message):
        read(tmp_path, train="train.txt")


def test_a_list_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--train no.txt: this list does not exist"):
        read(write(tmp_path, "a.jpg\n"), train="no.txt")


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("a.jpg 1,2,3,4,1", True),
        ("\n\na.PNG\n", True),
        ("sub/my cat.jpeg 1,2,3,4,1\n", True),
        ("000001\n000002\n", False),
        ("Some words about a licence.\n", False),
        ("", False),
        ("a.jpg 1,2,3,4\n", True),
        ("a.jpg b.jpg\n", False),
    ],
)
def test_lists_are_distinguished_from_other_text(tmp_path: Path, text: str, is_list: bool) -> None:
    write(tmp_path, text)
    assert txt.find_places(FolderSource(tmp_path)) == (["train.txt"] if is_list else [])
