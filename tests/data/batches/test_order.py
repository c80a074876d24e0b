"""The order of the samples, epoch after epoch, and their random numbers."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssd_core.data.batches.order import SHARDS_PER_GROUP, SampleOrder, order_stream, sample_stream
from ssd_core.errors import DataError


def epoch_of(order: SampleOrder, epoch: int) -> list[int]:
    """Return the samples of an epoch, whose uses are numbered."""
    positions = range(epoch * order.num_samples, (epoch + 1) * order.num_samples)
    epochs, indices, uses = zip(*map(order.at, positions), strict=True)
    counts = Counter(indices)
    assert sorted(zip(indices, uses, strict=True)) == [
        (index, use) for index in sorted(counts) for use in range(counts[index])
    ]
    assert set(epochs) == {epoch}
    return list(indices)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(sum), st.integers(0, 2**63))
def test_every_epoch_contains_every_sample_once(shard_rows, seed):
    order = SampleOrder(shard_rows, seed)
    for epoch in (0, 1, 7):
        assert sorted(epoch_of(order, epoch)) == list(range(sum(shard_rows)))


def test_the_order_is_a_function_of_seed_epoch_and_shards():
    rows = [40, 60]
    first = epoch_of(SampleOrder(rows, 1), 0)
    assert first == epoch_of(SampleOrder(rows, 1), 0)
    assert first != epoch_of(SampleOrder(rows, 1), 1)
    assert first != epoch_of(SampleOrder(rows, 2), 0)
    assert first != list(range(100))


def test_positions_may_be_read_in_any_order():
    order = SampleOrder([5, 6], 3)
    forward = [order.at(position) for position in range(100)]
    backward = [SampleOrder([5, 6], 3).at(position) for position in reversed(range(100))]
    assert forward == backward[::-1]


def test_samples_are_mixed_inside_groups_of_shards():
    num_shards, rows = 5 * SHARDS_PER_GROUP, 10
    samples = np.array(epoch_of(SampleOrder([rows] * num_shards, 0), 0))
    groups = (samples // rows).reshape(5, -1)
    for group in groups:
        assert len(set(group)) == SHARDS_PER_GROUP  # so two groups in a cache are enough
        assert (np.diff(group) != 0).mean() > 0.5  # and inside a group the shards are mixed
    assert sorted({*groups[0]}) != list(range(SHARDS_PER_GROUP))


def test_every_permutation_of_a_few_samples_occurs():
    orders = {tuple(epoch_of(SampleOrder([3], seed), 0)) for seed in range(100)}
    assert len(orders) == 6


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(1, 30)), min_size=1, max_size=20),
    st.integers(0, 2**63),
)
def test_factors_change_how_often_a_sample_occurs_in_an_epoch(shards, seed):
    shard_rows = [rows for rows, _ in shards] + [1]
    factors = np.repeat([factor for _, factor in shards] + [1.0], shard_rows)
    order = SampleOrder(shard_rows, seed, factors)
    shares = factors / factors.sum() * order.num_samples
    for epoch in (0, 3):
        counts = np.bincount(epoch_of(order, epoch), minlength=order.num_samples)
        assert (np.abs(counts - shares) < 1 + 1e-9).all()


def test_over_many_epochs_samples_occur_as_their_factors_want():
    factors = np.array([1.0, 1.0, 1.0, 2.5])
    order = SampleOrder([2, 2], 7, factors)
    samples = [order.at(position)[1] for position in range(4 * 4000)]
    shares = np.bincount(samples) / len(samples)
    np.testing.assert_allclose(shares, factors / factors.sum(), atol=0.01)


def test_equal_factors_change_nothing_but_the_order():
    order = SampleOrder([5, 6], 3, np.ones(11))
    assert sorted(epoch_of(order, 2)) == list(range(11))


def test_an_empty_split_is_a_data_error():
    for rows in ([], [0, 0]):
        with pytest.raises(DataError, match="no images"):
            SampleOrder(rows, 0)


@example([0] * 15 + [1, 1], 0, False)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40).filter(sum),
    st.integers(0, 99),
    st.booleans(),
)
def test_the_shards_read_next_are_known_one_group_ahead(shard_rows, seed, is_skewed):
    factors = np.random.default_rng(seed).lognormal(0, 2, sum(shard_rows)) if is_skewed else None
    order, ends = SampleOrder(shard_rows, seed, factors), np.cumsum(shard_rows)
    near, last = order.shards_of(range(1)), 2 * order.num_samples
    assert len(near) <= 2 * SHARDS_PER_GROUP
    for position in range(last):
        shard = int(np.searchsorted(ends, order.at(position)[1], side="right"))
        assert shard in near  # known since the previous group
        near = order.shards_of(range(position, position + 1))
        assert shard in near


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=80),
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), min_size=1, max_size=3),
)
def test_the_shards_of_positions_contain_them(shard_rows, parts):
    order, ends = SampleOrder(shard_rows, seed=5), np.cumsum(shard_rows)
    ranges = [range(first, first + count) for first, count in sorted(parts)]
    positions = [position for part in ranges for position in part]
    indices = [order.at(position)[1] for position in positions]
    assert set(order.shards_of(*ranges)) >= set(np.searchsorted(ends, indices, side="right"))


def test_every_seed_epoch_and_index_has_random_numbers_of_its_own():
    seeds, numbers = (1, 2, 0, 2**40, 2**63, 2**64 - 1), (1, 2, 0, 2**40)
    streams = [order_stream(seed, epoch) for seed in seeds for epoch in numbers]
    streams += [sample_stream(*place) for place in product(seeds, numbers, numbers, (0, 3))]
    draws = [number for stream in streams for number in stream.random(1000)]
    assert len(set(draws)) == len(draws)
