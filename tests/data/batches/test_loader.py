"""Batches: a function of seed and step alone, on real threads and real photographs."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ssd_core.config import AugmentConfig
from ssd_core.data.batches.augment import sample
from ssd_core.data.batches.loader import Loader
from ssd_core.data.batches.order import SampleOrder, sample_stream
from ssd_core.data.shards.reader import open_split
from ssd_core.errors import DataError, UsageError
from ssd_core.structures import Annotations, Batch, Record, make_annotations

REPOSITORY = Path(__file__).parents[3]
PHOTOS = [p.read_bytes() for p in sorted((REPOSITORY / "examples/bccd/JPEGImages").iterdir())[:6]]
FILL = (123.675, 116.28, 103.53)


class Photos:
    """A split in memory: the same few photos again and again, the first object a crowd."""

    split = "train"

    def __init__(self, shard_rows: tuple[int, ...] = (9, 7), max_boxes: int = 3) -> None:
        self.shard_rows = shard_rows
        self.max_boxes = max_boxes
        self.broken: dict[int, bytes] = {}

    def annotations(self, index: int) -> Annotations:
        count = index % (self.max_boxes + 1)
        boxes = [[50 * i + index, 40 * i, 50 * i + 200, 40 * i + 150] for i in range(count)]
        return make_annotations(boxes, range(1, count + 1), is_crowd=[i == 0 for i in range(count)])

    def expect(self, numbers: Iterable[int]) -> None:
        """Everything is here."""

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        for index in indices:
            yield Record(
                index=index,
                image_id=1000 + index,
                image_path=f"photos/{index}.jpg",
                width=640,
                height=480,
                image=memoryview(self.broken.get(index, PHOTOS[index % len(PHOTOS)])),
                annotations=self.annotations(index),
            )


def make_loader(reader=None, **changes) -> Loader:
    options = {
        "image_size": 64,
        "augment": AugmentConfig(),
        "mean": FILL,
        "batch_size": 8,
        "seed": 5,
        "num_threads": 2,
    }
    return Loader(reader or Photos(), **(options | changes))


def copied(batch: Batch) -> tuple[np.ndarray, ...]:
    return tuple(array.copy() for array in (batch.images, batch.boxes, batch.labels, batch.indices))


def batches(loader: Loader, first: int, last: int) -> list[tuple[np.ndarray, ...]]:
    return [copied(batch) for batch in loader.batches(first, last)]


def assert_same(some, others) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)


def test_a_row_is_the_sample_that_the_order_says():
    reader, order = Photos(), SampleOrder((9, 7), seed=5)
    made = batches(make_loader(reader), 0, 5)  # past the end of two epochs of 16
    for step, (images, boxes, labels, indices) in enumerate(made):
        for row in range(8):
            epoch, index = order.at(8 * step + row)
            expected = np.empty((64, 64, 3), np.uint8)
            target_boxes, target_labels = sample(
                PHOTOS[index % len(PHOTOS)],
                reader.annotations(index),
                sample_stream(5, epoch, index),
                config=AugmentConfig(),
                fill=FILL,
                out=expected,
            )
            count = len(target_labels)
            np.testing.assert_array_equal(images[row], expected)
            np.testing.assert_array_equal(boxes[row, :count], target_boxes)
            np.testing.assert_array_equal(labels[row, :count], target_labels)
            assert not boxes[row, count:].any()
            assert not labels[row, count:].any()
            assert indices[row] == index


def test_shapes_and_types_are_those_of_a_batch():
    images, boxes, labels, indices = batches(make_loader(), 0, 1)[0]
    assert (images.shape, images.dtype) == ((8, 64, 64, 3), np.uint8)
    assert (boxes.shape, boxes.dtype) == ((8, 8, 4), np.float32)
    assert (labels.shape, labels.dtype) == ((8, 8), np.int64)
    assert (indices.shape, indices.dtype) == ((8,), np.int64)


@pytest.mark.parametrize(("max_boxes", "padded"), [(0, 8), (8, 8), (9, 16), (16, 16)])
def test_targets_are_padded_to_a_multiple_of_eight(max_boxes, padded):
    _, boxes, labels, _ = batches(make_loader(Photos(max_boxes=max_boxes)), 0, 1)[0]
    assert boxes.shape == (8, padded, 4)
    assert labels.shape == (8, padded)


def test_a_split_without_any_object_is_loaded():
    for images, boxes, labels, _ in batches(make_loader(Photos(max_boxes=0)), 0, 2):
        assert images.any()
        assert not boxes.any()
        assert not labels.any()


def test_the_number_of_threads_changes_nothing():
    expected = batches(make_loader(num_threads=1), 0, 4)
    assert_same(batches(make_loader(num_threads=4), 0, 4), expected)


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_resumed_run_sees_the_remainder(first):
    expected = batches(make_loader(), 0, 4)
    assert_same(batches(make_loader(), first, 4), expected[first:])


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_see_the_batch_of_one(world_size):
    expected = batches(make_loader(), 0, 3)
    slices = [
        batches(make_loader(rank=rank, world_size=world_size), 0, 3) for rank in range(world_size)
    ]
    together = [
        tuple(np.concatenate(arrays) for arrays in zip(*ranks, strict=True))
        for ranks in zip(*slices, strict=True)
    ]
    assert_same(together, expected)


@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("first", range(5))
def test_any_number_of_ranks_resumes_at_any_step(first, world_size):
    expected = [indices for *_, indices in batches(make_loader(), 0, 5)][first:]
    slices = [
        make_loader(rank=rank, world_size=world_size).batches(first, 5)
        for rank in range(world_size)
    ]
    seen = [
        np.concatenate([batch.indices for batch in ranks]) for ranks in zip(*slices, strict=True)
    ]
    np.testing.assert_array_equal(seen, expected)


def test_a_batch_must_divide_over_the_ranks():
    with pytest.raises(UsageError, match="train.batch_size 8 does not divide over 3 devices"):
        make_loader(world_size=3)


def test_no_steps_no_batches():
    assert batches(make_loader(), 3, 3) == []


def test_a_batch_larger_than_the_split_goes_on_with_the_next_epoch():
    *_, indices = batches(make_loader(Photos(shard_rows=(3,))), 0, 1)[0]
    assert sorted(indices[:3]) == sorted(indices[3:6]) == [0, 1, 2]


def test_a_batch_is_left_alone_until_the_next_is_asked_for():
    expected = batches(make_loader(), 0, 6)
    for batch, content in zip(make_loader().batches(0, 6), expected, strict=True):
        time.sleep(0.05)  # the threads are ahead by now
        assert_same([copied(batch)], [content])


def test_memory_is_reused():
    images = {batch.images.ctypes.data for batch in make_loader().batches(0, 12)}
    assert len(images) == 3


def test_an_unreadable_image_is_named_after_the_batches_before_it():
    reader, order = Photos(), SampleOrder((9, 7), seed=5)
    index = order.at(8)[1]
    reader.broken[index] = b"no image"
    stream = make_loader(reader).batches(0, 10)
    next(stream)
    with pytest.raises(
        DataError, match=rf"train image {index} \(photos/{index}.jpg\): the file is"
    ):
        next(stream)


def test_an_error_of_the_reader_reaches_the_consumer():
    class Torn(Photos):
        def read(self, indices):
            raise DataError("train-00000.arrow: the content has changed")

    with pytest.raises(DataError, match="the content has changed"):
        next(make_loader(Torn()).batches(0, 1))


def test_a_split_without_images_is_a_data_error():
    with pytest.raises(DataError, match="no images"):
        next(make_loader(Photos(shard_rows=())).batches(0, 1))


def finish(stream) -> None:
    assert sum(1 for _ in stream) == 3


def close(stream) -> None:
    next(stream)
    stream.close()


def fail(stream) -> None:
    next(stream)
    with pytest.raises(DataError):
        list(stream)


@pytest.mark.parametrize("end", [finish, close, fail])
def test_no_thread_outlives_the_batches(end):
    before, reader = set(threading.enumerate()), Photos()
    if end is fail:
        reader.broken[SampleOrder((9, 7), seed=5).at(20)[1]] = b""
    end(make_loader(reader).batches(0, 3))
    assert set(threading.enumerate()) == before


ENDLESS = """
import sys
sys.path.insert(0, "tests/data/batches")
from test_loader import make_loader
for batch in make_loader(num_threads=4).batches(0, 10**9):
    print(batch.indices[0], flush=True)
"""


def test_ctrl_c_ends_the_process():
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    assert errors.decode().strip().endswith("KeyboardInterrupt")


def test_empty_images_among_others_are_kept():
    class HalfEmpty(Photos):
        def annotations(self, index):
            return super().annotations(index) if index % 2 else make_annotations([], [])

    for _, _, labels, indices in batches(make_loader(HalfEmpty()), 0, 2):
        assert not labels[indices % 2 == 0].any()
        assert labels[indices % 2 == 1].any()


def test_shards_are_loaded_from_many_threads(bccd_shards):
    reader = open_split(bccd_shards, "train")
    options = {"batch_size": 20, "augment": AugmentConfig(crop_min_ious=())}
    made = batches(make_loader(reader, num_threads=4, **options), 0, 5)
    assert_same(batches(make_loader(reader, num_threads=1, **options), 0, 5), made)
    records = list(reader.read(range(100)))
    assert sorted(index for *_, indices in made for index in indices) == list(range(100))
    for _, boxes, labels, indices in made:
        assert boxes.shape == (20, 32, 4)  # 25 objects at most
        for row, index in enumerate(indices):
            assert (
                labels[row][labels[row] > 0].tolist() == records[index].annotations.labels.tolist()
            )


def test_a_damaged_shard_is_named(bccd_shards, tmp_path):
    shutil.copytree(bccd_shards, tmp_path / "shards")
    shard = tmp_path / "shards" / "train-00000.arrow"
    content = bytearray(shard.read_bytes())
    content[100_000] ^= 1
    shard.write_bytes(content)
    stream = make_loader(open_split(tmp_path / "shards", "train")).batches(0, 1)
    with pytest.raises(DataError, match="train-00000.arrow: the content has SHA-256"):
        next(stream)
