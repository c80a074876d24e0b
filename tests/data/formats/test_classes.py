"""The choice of classes: subsets, new names, joined classes."""

import pytest

from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import (
    choose_classes,
    choose_numbers,
    describe_numbers,
    join_names,
    known_numbers,
)
from ssd_core.errors import DataError, UsageError

CATEGORIES = {"cat": 3, "dog": 7, "car": 9, "truck": 12}


@pytest.mark.parametrize(
    ("wanted", "classes", "labels"),
    [
        (None, ["cat", "dog", "car", "truck"], {"cat": 1, "dog": 2, "car": 3, "truck": 4}),
        (["dog", "cat"], ["dog", "cat"], {"dog": 1, "cat": 2}),
        (["dog=hound"], ["hound"], {"dog": 1}),
        ([" dog = big dog "], ["big dog"], {"dog": 1}),
        (
            ["dog", "car=vehicle", "truck=vehicle"],
            ["dog", "vehicle"],
            {"dog": 1, "car": 2, "truck": 2},
        ),
        (["dog=cat", "cat=dog"], ["cat", "dog"], {"dog": 1, "cat": 2}),
    ],
)
def test_classes_by_name(wanted, classes, labels):
    choice = choose_classes(CATEGORIES, wanted)
    assert [info.name for info in choice.classes] == classes
    assert [info.label for info in choice.classes] == list(range(1, len(classes) + 1))
    assert choice.labels == labels


def test_the_id_is_that_of_the_first_class_with_the_name():
    choice = choose_classes(CATEGORIES, ["truck=vehicle", "cat", "car=vehicle"])
    assert [info.category_id for info in choice.classes] == [12, 3]
    by_name = choose_classes({"b": None, "a": None})
    assert [info.category_id for info in by_name.classes] == [1, 2]


def test_splits_are_joined_by_name():
    findings = Findings("repair")
    train, val = {1: "cat", 2: "dog", 5: "cat"}, {1: "dog", 2: "cat"}
    ids = join_names({"train.json": train, "val.json": val}, None, findings)
    assert ids == {"cat": 1, "dog": 2}
    assert findings.counts == {"class_name_twice": 1}
    assert findings.listed[0].detail == "2 classes are named 'cat'"
    with pytest.raises(
        DataError, match="val: its classes differ from those of train: 1 'owl'.*--cl"
    ):
        join_names({"train": val, "val": {1: "owl"}}, None, findings)
    assert join_names({"train": val, "val": {1: "owl"}}, ["owl"], findings)["owl"] == 1


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["dgo"], "unknown class 'dgo'; did you mean 'dog'"),
        (["dog", "dog"], "names a class twice: dog"),
        (["dog=a", "dog=b"], "names a class twice: dog"),
        (["dog="], "'dog=' is neither a name nor old=new"),
        (["=a"], "'=a' is neither"),
        (["hound=dog"], "unknown class 'hound'"),
    ],
)
def test_wrong_entries(wanted, message):
    with pytest.raises(UsageError, match=message):
        choose_classes(CATEGORIES, wanted)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("c\ud800", r"'c\\ud800' is not text"),
        ("c\nd", r"'c\\nd' is not a line"),
        ("c\u2028d", "is not a line"),
        (" ", "' ' is not a line"),
        ("", "'' is not a line"),
        ("x" * 236, "is not a line of at most 235 bytes"),
    ],
)
def test_names_that_no_later_step_could_show(name, problem):
    with pytest.raises(DataError, match=problem):
        choose_classes({"dog": 1, name: 2})
    assert choose_classes({"dog": 1, name: 2}, ["dog"]).labels == {"dog": 1}


@pytest.mark.parametrize(
    ("entries", "classes", "labels"),
    [
        (["bolt, M6", "a=b"], ["bolt, M6", "a=b"], {"bolt, M6": 1, "a=b": 2}),
        (["a=b=c"], ["c"], {"a=b": 1}),
        (["a=c"], ["c"], {"a": 1}),
        (["a", "a =a"], ["a"], {"a": 1, "a ": 1}),
    ],
)
def test_names_with_signs(entries, classes, labels):
    choice = choose_classes({"bolt, M6": 1, "a=b": 2, "a": 3, "a ": 4}, entries)
    assert [info.name for info in choice.classes] == classes
    assert choice.labels == labels


def test_a_name_with_a_comma_needs_a_file():
    with pytest.raises(UsageError, match="unknown class 'bolt'.*--classes FILE"):
        choose_classes({"bolt, M6": 1}, ["bolt", " M6"])


@pytest.mark.parametrize(
    ("seen", "wanted", "classes"),
    [
        ([1, 3, 3], None, [("1", 1), ("2", 2), ("3", 3)]),
        ([1], ["cat", "dog"], [("cat", 1), ("dog", 2)]),
        ([1, 2, 3], ["2=dog"], [("dog", 2)]),
        ([1], ["9=owl"], [("owl", 9)]),
        ([1, 2], ["cat", "1=kitten"], None),
    ],
)
def test_classes_that_are_numbers(seen, wanted, classes):
    if classes is None:
        with pytest.raises(UsageError, match="names a class twice: 1"):
            choose_numbers(map(str, seen), wanted, first=1)
        return
    choice = choose_numbers(map(str, seen), wanted, first=1)
    assert [(info.name, info.category_id) for info in choice.classes] == classes


def test_a_plain_list_covers_all_numbers():
    assert known_numbers(["cat", "dog"], first=0) == range(2)
    assert 99 in known_numbers(["cat", "7=dog"], first=0)
    assert 99_999 not in known_numbers(None, first=1)
    assert describe_numbers(known_numbers(["cat", "dog"], first=1)) == "1 to 2"
    assert describe_numbers(known_numbers(None, first=1)) == "an integer from 1"
