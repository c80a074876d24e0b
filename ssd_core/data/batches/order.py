"""The order of the training samples and their random numbers: pure functions of the seed.

Philox is a counter-based generator: seed and purpose are its key, epoch and index its starting
point. So no random state has to be kept, passed on or restored.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from ssd_core.errors import DataError
from ssd_core.structures import Array, FloatArray, IntArray

SHARDS_PER_GROUP = 8
"""Shards whose samples are mixed; a cache of remote shards holds two such groups."""

_ORDER, _SAMPLE = 0, 1


class _Epoch(NamedTuple):
    groups: list[IntArray]
    """Shards of each group."""
    ends: IntArray
    """[G] offset in the epoch at which each group ends."""
    samples: IntArray
    """[N] index in the split + N * number of earlier uses of that sample in the epoch."""


class SampleOrder:
    """The endless stream of samples: one epoch after the other, each in its own order.

    In each epoch the shards are shuffled, then the samples inside groups of consecutive shards. So
    a cache of remote shards holds two groups at a time; a single group is one full shuffle.

    With factors an epoch has as many samples as without, but each of them occurs in proportion to
    its factor, in every epoch rounded up or down at random.
    """

    def __init__(
        self, shard_rows: Sequence[int], seed: int, factors: FloatArray | None = None
    ) -> None:
        """Take the samples of each shard, in the order of the manifest, and [N] factors."""
        self._shard_rows = np.asarray(shard_rows, np.int64)
        self._seed = seed
        self.num_samples = int(self._shard_rows.sum())
        if self.num_samples == 0:
            raise DataError("the training split has no images")
        self._ends: Array | None = None
        if factors is not None:
            self._ends = np.cumsum(factors) * (self.num_samples / factors.sum())
            self._ends[-1] = self.num_samples
        # Around the end of an epoch, positions of two epochs are in use.
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def at(self, position: int) -> tuple[int, int, int]:
        """Return the sample at a position, counted from 0.

        That is the epoch, the index of a sample in the split, and the number of its earlier uses in
        the epoch.
        """
        epoch, offset = divmod(position, self.num_samples)
        use, index = divmod(int(self._epoch(epoch).samples[offset]), self.num_samples)
        return epoch, index, use

    def shards_of(self, *parts: range) -> tuple[int, ...]:
        """Return the shards of the groups that these positions are in, parts in ascending order.

        Those of a single group are followed by the shards of the next one, which can be fetched
        meanwhile.
        """
        found = dict.fromkeys(group for part in parts for group in self._groups_of(part))
        if len(found) == 1:
            ((epoch, group),) = found
            is_last = group + 1 == len(self._epoch(epoch).groups)
            found[(epoch + 1, 0) if is_last else (epoch, group + 1)] = None
        shards = (self._epoch(epoch).groups[group].tolist() for epoch, group in found)
        return tuple(dict.fromkeys(chain.from_iterable(shards)))

    def _groups_of(self, positions: range) -> Iterator[tuple[int, int]]:
        """Yield epoch and number of each group."""
        position = positions.start
        while position < positions.stop:
            epoch, offset = divmod(position, self.num_samples)
            ends = self._epoch(epoch).ends
            group = int(np.searchsorted(ends, offset, side="right"))
            yield epoch, group
            position += int(ends[group]) - offset

    def _shuffle(self, epoch: int) -> _Epoch:
        rng = order_stream(self._seed, epoch)
        ends = np.cumsum(self._shard_rows)
        uses = self._draw_uses(rng)
        used = np.diff(np.cumsum(uses)[ends[self._shard_rows > 0] - 1], prepend=0)
        # Without unused shards: a group of nothing else would have no samples to read.
        shards = rng.permutation(np.flatnonzero(self._shard_rows)[used > 0])
        groups = [
            shards[first : first + SHARDS_PER_GROUP]
            for first in range(0, len(shards), SHARDS_PER_GROUP)
        ]
        samples = []
        for group in groups:
            ranges = [
                np.arange(ends[shard] - self._shard_rows[shard], ends[shard]) for shard in group
            ]
            samples.append(rng.permutation(self._repeat(np.concatenate(ranges), uses)))
        return _Epoch(
            groups=groups,
            ends=np.cumsum([len(part) for part in samples]),
            samples=np.concatenate(samples),
        )

    def _draw_uses(self, rng: np.random.Generator) -> IntArray:
        """Return [N] how often each sample occurs in an epoch (systematic sampling)."""
        if self._ends is None:
            return np.ones(self.num_samples, np.int64)
        return np.diff(np.floor(self._ends + rng.random()), prepend=0).astype(np.int64)

    def _repeat(self, indices: IntArray, uses: IntArray) -> IntArray:
        """Return the samples of a group as `_Epoch` numbers them."""
        counts = uses[indices]
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(indices, counts) + self.num_samples * (np.arange(len(starts)) - starts)


def order_stream(seed: int, epoch: int) -> np.random.Generator:
    """Return the random numbers that order the samples of an epoch."""
    return _stream(seed, _ORDER, epoch, 0)


def sample_stream(seed: int, epoch: int, index: int, use: int = 0) -> np.random.Generator:
    """Return the random numbers that augment one use of sample `index` of the split in an epoch."""
    return _stream(seed, _SAMPLE, epoch, index, use)


def _stream(seed: int, purpose: int, epoch: int, index: int, use: int = 0) -> np.random.Generator:
    key = np.array([seed, purpose], np.uint64)
    counter = np.array([0, use, index, epoch], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
