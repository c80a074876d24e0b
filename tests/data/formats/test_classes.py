"""The choice of classes: subsets, new names, joined classes."""

import pytest

from ssd_core.data.formats.classes import (
    choose_classes,
    choose_numbers,
    describe_numbers,
    known_numbers,
)
from ssd_core.errors import DataError, UsageError

CATEGORIES = {3: "cat", 7: "dog", 9: "car", 12: "truck"}


@pytest.mark.parametrize(
    ("wanted", "classes", "labels"),
    [
        (None, ["cat", "dog", "car", "truck"], {3: 1, 7: 2, 9: 3, 12: 4}),
        (["dog", "cat"], ["dog", "cat"], {7: 1, 3: 2}),
        (["dog=hound"], ["hound"], {7: 1}),
        ([" dog = big dog "], ["big dog"], {7: 1}),
        (["dog", "car=vehicle", "truck=vehicle"], ["dog", "vehicle"], {7: 1, 9: 2, 12: 2}),
        (["dog=cat", "cat=dog"], ["cat", "dog"], {7: 1, 3: 2}),
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
    by_name = choose_classes({"b": "b", "a": "a"}, None)
    assert [info.category_id for info in by_name.classes] == [1, 2]


def test_equal_names_become_one_class():
    choice = choose_classes({1: "cat", 2: "dog", 5: "cat"}, None)
    assert [info.name for info in choice.classes] == ["cat", "dog"]
    assert choice.labels == {1: 1, 5: 1, 2: 2}


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


def test_half_a_character_is_not_a_name():
    with pytest.raises(DataError, match=r"the class name 'c\\ud800' is not text"):
        choose_classes({1: "c\ud800"}, None)


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
            choose_numbers(seen, wanted, first=1)
        return
    choice = choose_numbers(seen, wanted, first=1)
    assert [(info.name, info.category_id) for info in choice.classes] == classes


def test_a_plain_list_covers_all_numbers():
    assert known_numbers(["cat", "dog"], first=0) == range(2)
    assert 99 in known_numbers(["cat", "7=dog"], first=0)
    assert 99_999 not in known_numbers(None, first=1)
    assert describe_numbers(known_numbers(["cat", "dog"], first=1)) == "1 to 2"
    assert describe_numbers(known_numbers(None, first=1)) == "an integer from 1"
