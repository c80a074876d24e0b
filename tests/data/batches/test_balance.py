"""Images with rare classes come more often."""

from collections import Counter

import numpy as np
import pytest

from ssd_core.data.batches.balance import repeat_factors
from ssd_core.data.shards.reader import open_split
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.stages.feed import open_loader
from ssd_core.store import LocalDirectory
from ssd_core.structures import Record, make_annotations


def record(labels, crowds=()):
    boxes = [[0, 0, 1, 1]] * len(labels)
    annotations = make_annotations(boxes, labels, is_crowd=crowds or [False] * len(labels))
    return Record(
        index=0,
        image_id=0,
        image_path="a.jpg",
        width=1,
        height=1,
        image=memoryview(b""),
        annotations=annotations,
    )


def test_an_image_has_the_factor_of_its_rarest_class():
    labels = [[1, 1, 1], [1, 2], [1], [2], [], [1, 3], [1], [1]]  # shares 6/8, 2/8, 1/8
    found = repeat_factors([*map(record, labels[:-1]), record([1, 3], [False, True])], 0.5)
    assert found == pytest.approx([1, np.sqrt(2), 1, np.sqrt(2), 1, 2, 1, 1])


def test_a_training_takes_images_as_their_classes_want(bccd_shards):
    reader = open_split(LocalDirectory(bccd_shards), "train")
    assignments = ["train.batch_size=100", "train.repeat_threshold=1"]
    loader = open_loader(override(load_recipe("demo"), assignments).train, reader)
    factors = repeat_factors(reader.read_in_order(), 1)
    assert 1.2 < factors.max() / factors.min() < 2
    uses = Counter(name for epoch in range(20) for name in loader.name_images(epoch + 1))
    found = [uses[each.image_path] for each in reader.read_in_order()]
    np.testing.assert_allclose(found, factors / factors.sum() * 20 * 100, atol=5)
