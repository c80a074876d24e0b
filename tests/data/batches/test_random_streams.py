"""Random numbers by seed, epoch and index."""

from ssd_core.data.batches.order import order_stream, sample_stream


def test_the_same_place_gives_the_same_numbers():
    assert sample_stream(3, 4, 5).random(8).tolist() == sample_stream(3, 4, 5).random(8).tolist()
    assert order_stream(3, 4).random(8).tolist() == order_stream(3, 4).random(8).tolist()


def test_no_two_places_share_numbers():
    numbers = [1, 2, 0, 2**40]
    streams = [order_stream(seed, epoch) for seed in (*numbers, 2**64 - 1) for epoch in numbers]
    streams += [
        sample_stream(seed, epoch, index)
        for seed in (*numbers, 2**63)
        for epoch in numbers
        for index in numbers
    ]
    draws = [number for stream in streams for number in stream.random(1000)]
    assert len(set(draws)) == len(draws)


def test_a_seed_may_be_of_any_size():
    assert 0 <= sample_stream(2**200 + 1, 0, 0).random() < 1
