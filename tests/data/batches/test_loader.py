"""Batches: a function of seed and step alone, on real threads and real images."""

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
from ssd_core.errors import DataError, UsageError
from ssd_core.structures import Annotations, Batch, Record, make_annotations
from tests.small_model import describe_input

REPOSITORY = Path(__file__).parents[3]
IMAGES = [p.read_bytes() for p in sorted((REPOSITORY / "examples/bccd/JPEGImages").iterdir())[:6]]
MODEL = describe_input(64)


class Images:
    """A split in memory: a few images repeated, the first object of each a crowd."""

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
        """Nothing has to be fetched."""

    def read(self, indices: Iterable[int]) -> Iterator[Record]:
        for index in indices:
            yield Record(
                index=index,
                image_id=1000 + index,
                image_path=f"images/{index}.jpg",
                width=640,
                height=480,
                image=memoryview(self.broken.get(index, IMAGES[index % len(IMAGES)])),
                annotations=self.annotations(index),
            )


def make_loader(reader=None, **changes) -> Loader:
    options = {
        "model": MODEL,
        "augment": AugmentConfig(),
        "batch_size": 8,
        "seed": 5,
        "num_threads": 2,
    }
    return Loader(reader or Images(), **(options | changes))


def copied(batch: Batch) -> tuple[np.ndarray, ...]:
    return tuple(array.copy() for array in (batch.images, batch.boxes, batch.labels))


def batches(loader: Loader, first: int, last: int) -> list[tuple[np.ndarray, ...]]:
    return [copied(batch) for batch in loader.batches(first, last)]


def assert_same(some, others) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("shard_rows", "factors"),
    [((9, 7), None), ((3,), None), ((9, 7), np.arange(1.0, 17))],
    ids=["two batches", "less than a batch", "skewed"],
)
def test_each_row_is_the_sample_at_its_position_in_the_order(shard_rows, factors):
    reader, order = Images(shard_rows), SampleOrder(shard_rows, seed=5, factors=factors)
    made = batches(make_loader(reader, factors=factors), 0, 5)  # past the end of two epochs
    for step, (images, boxes, labels) in enumerate(made):
        rows = [order.at(8 * step + row)[1] for row in range(8)]
        loader = make_loader(reader, factors=factors)
        assert loader.name_images(step + 1) == [f"images/{row}.jpg" for row in rows]
        for row in range(8):
            epoch, index, use = order.at(8 * step + row)
            expected = np.empty((64, 64, 3), np.uint8)
            target_boxes, target_labels = sample(
                IMAGES[index % len(IMAGES)],
                reader.annotations(index),
                sample_stream(5, epoch, index, use),
                config=AugmentConfig(),
                model=MODEL,
                out=expected,
            )
            count = len(target_labels)
            np.testing.assert_array_equal(images[row], expected)
            np.testing.assert_array_equal(boxes[row, :count], target_boxes)
            np.testing.assert_array_equal(labels[row, :count], target_labels)
            assert not boxes[row, count:].any()
            assert not labels[row, count:].any()


@pytest.mark.parametrize(("max_boxes", "padded"), [(0, 8), (3, 8), (8, 8), (9, 16), (16, 16)])
def test_targets_are_padded_to_a_multiple_of_eight(max_boxes, padded):
    batch = batches(make_loader(Images(max_boxes=max_boxes)), 0, 1)[0]
    assert [(array.shape, array.dtype) for array in batch] == [
        ((8, 64, 64, 3), np.uint8),
        ((8, padded, 4), np.float32),
        ((8, padded), np.int64),
    ]
    images, boxes, labels = batch
    assert images.any()
    assert boxes.any() == labels.any() == (max_boxes > 0)


@pytest.mark.parametrize(("world_size", "num_threads"), [(1, 1), (1, 4), (2, 2), (4, 1)])
def test_all_ranks_resumed_at_any_step_yield_the_whole_remainder(world_size, num_threads):
    expected = batches(make_loader(), 0, 5)
    options = {"world_size": world_size, "num_threads": num_threads}
    for first in range(6):
        slices = [
            batches(make_loader(rank=rank, **options), first, 5) for rank in range(world_size)
        ]
        together = [
            tuple(np.concatenate(arrays) for arrays in zip(*ranks, strict=True))
            for ranks in zip(*slices, strict=True)
        ]
        assert_same(together, expected[first:])


def test_a_batch_larger_than_the_data_set_is_a_warning_or_refused(caplog):
    make_loader(batch_size=16)
    assert not caplog.messages
    make_loader(batch_size=40)
    assert caplog.messages == [
        "train.batch_size 40 takes some of the 16 images several times per step; choose at most 16"
    ]
    refused = "1601 takes each of the 16 images more than 100 times per step; choose at most 16"
    with pytest.raises(UsageError, match=refused):
        make_loader(batch_size=1601)


def test_a_batch_stays_unchanged_until_the_next_is_requested():
    expected = batches(make_loader(), 0, 6)
    for batch, content in zip(make_loader().batches(0, 6), expected, strict=True):
        time.sleep(0.05)  # the threads are ahead by then
        assert_same([copied(batch)], [content])


def test_memory_is_reused():
    images = {batch.images.ctypes.data for batch in make_loader().batches(0, 12)}
    assert len(images) == 3


def test_the_message_about_an_unreadable_image_comes_after_the_batches_before_it():
    reader, order = Images(), SampleOrder((9, 7), seed=5)
    index = order.at(8)[1]
    reader.broken[index] = b"no image"
    stream = make_loader(reader).batches(0, 10)
    next(stream)
    with pytest.raises(
        DataError, match=rf"train image {index} \(images/{index}.jpg\): the file is"
    ):
        next(stream)


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
    before, reader = set(threading.enumerate()), Images()
    if end is fail:
        reader.broken[SampleOrder((9, 7), seed=5).at(20)[1]] = b""
    end(make_loader(reader).batches(0, 3))
    assert set(threading.enumerate()) == before


ENDLESS = """
import sys
sys.path.insert(0, "tests/data/batches")
from test_loader import make_loader
for batch in make_loader(num_threads=4).batches(0, 10**9):
    print(batch.labels[0], flush=True)
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
