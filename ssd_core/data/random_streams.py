"""The randomness of the data as pure functions: one stream for each epoch's order and each sample.

Philox is a counter-based generator: seed and use are its key, epoch and index its starting point,
so no state has to be kept, handed over or restored.
"""

import numpy as np

_ORDER, _SAMPLE = 0, 1


def order_stream(seed: int, epoch: int) -> np.random.Generator:
    """Return the random numbers that order the samples of an epoch."""
    return _stream((seed, _ORDER), (0, 0, 0, epoch))


def sample_stream(seed: int, epoch: int, index: int) -> np.random.Generator:
    """Return the random numbers that augment the sample `index` of the split in an epoch."""
    return _stream((seed, _SAMPLE), (0, 0, index, epoch))


def _stream(key: tuple[int, int], counter: tuple[int, int, int, int]) -> np.random.Generator:
    seed, use = key
    words = np.array([seed % 2**64, use], np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=np.array(counter, np.uint64)))
