"""Work on threads, ahead of the consumer."""

import threading
import time

import pytest

from ssd_core.data.ahead import batched, map_ahead, map_batches_ahead


def test_results_come_in_order_whichever_finishes_first():
    def work(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    results = list(map_ahead(work, range(40), num_threads=4, depth=8))
    assert results == [item * item for item in range(40)]


def test_no_more_than_the_depth_is_taken_from_the_source():
    taken = []

    def source():
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ahead(str, source(), num_threads=2, depth=5)
    assert next(results) == "0"
    assert len(taken) == 6
    results.close()
    assert len(taken) == 6


def test_an_error_is_raised_in_place_of_its_result():
    def work(item):
        return 10 // (item - 2)

    results = map_ahead(work, range(5), num_threads=3, depth=4)
    assert [next(results), next(results)] == [-5, -10]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(
    ("map_items", "options", "first"),
    [
        (map_ahead, {"num_threads": 3, "depth": 10}, "0"),
        (map_batches_ahead, {"batch_size": 3}, ["0", "1", "2"]),
    ],
)
def test_closing_ends_the_threads(map_items, options, first):
    before = threading.active_count()
    results = map_items(str, range(1000), **options)
    assert next(results) == first
    results.close()
    assert threading.active_count() == before


def test_no_items_give_no_results():
    assert list(map_ahead(str, [], num_threads=2, depth=3)) == []


@pytest.mark.parametrize(
    ("count", "batches"), [(0, []), (2, [[0, 1]]), (3, [[0, 1, 2]]), (4, [[0, 1, 2], [3]])]
)
def test_all_batches_but_the_last_are_full(count, batches):
    assert list(batched(range(count), 3)) == batches
    doubled = [[2 * item for item in batch] for batch in batches]
    assert list(map_batches_ahead(lambda item: 2 * item, range(count), batch_size=3)) == doubled
