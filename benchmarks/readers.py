"""Simulate what the machines of a training fetch from a store, by the plan of the product.

`SampleOrder` and `positions_ahead` decide which shards a rank announces and reads; a node keeps
what it used last, up to 200 GB. Nothing is read. The data set has 10,000 images of 160 KB per
`--images`.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from benchmarks.row import Row, Size, main
from ssd_core.config import ConvertConfig
from ssd_core.data.batches.loader import positions_ahead
from ssd_core.data.batches.order import SampleOrder
from ssd_core.process.memory import read_peak_memory

_IMAGES = 10_000
"""Per unit of the size: at the default of 1,000 ten million."""
_IMAGE_BYTES = 160_000
_SHARD_BYTES = ConvertConfig().shard_bytes
_NODES, _NODE_RANKS, _RANK_ROWS = (1, 8, 64, 1000), 8, 32
_CACHE_SHARDS = 200 * 10**9 // _SHARD_BYTES
_REQUEST_BYTES = 2**23
"""Of one GET."""
_STEPS = 200
"""Steps to simulate at most."""


class Node:
    """The cache of a node, which counts what it fetches."""

    def __init__(self) -> None:
        self._shards: OrderedDict[int, None] = OrderedDict()
        self.num_fetched = 0

    def use(self, shards: Iterable[int]) -> None:
        """Fetch the shards that are not there, and drop those that were used least recently."""
        for shard in shards:
            self.num_fetched += shard not in self._shards
            self._shards[shard] = None
            self._shards.move_to_end(shard)
            if len(self._shards) > _CACHE_SHARDS:
                self._shards.popitem(last=False)


def simulate(order: SampleOrder, nodes: int) -> float:
    """Return the bytes that one node fetches per byte of the images that it trains on."""
    world_size = nodes * _NODE_RANKS
    batch_size = world_size * _RANK_ROWS
    num_steps = max(1, min(_STEPS, order.num_samples // batch_size))
    node = Node()
    for step in range(num_steps):
        for rank in range(_NODE_RANKS):
            parts = positions_ahead(step, batch_size=batch_size, rank=rank, world_size=world_size)
            node.use(order.shards_of(*parts))
    num_used = num_steps * _NODE_RANKS * _RANK_ROWS
    return node.num_fetched * _SHARD_BYTES / (num_used * _IMAGE_BYTES)


def measure(size: Size) -> Iterator[Row]:
    """Yield the order of an epoch and a row per number of nodes."""
    images = _IMAGES * size.images
    rows = _SHARD_BYTES // _IMAGE_BYTES
    started = time.process_time()
    order = SampleOrder([rows] * (images // rows), seed=1)
    order.at(0)
    yield Row(
        work=f"order of an epoch of {images:,} images in {images // rows:,} shards",
        value=time.process_time() - started,
        unit="s (CPU time) per rank",
        target=None,
        detail=f"peak of the process {(read_peak_memory() or 0) / 1e6:.0f} MB",
    )
    for nodes in _NODES:
        ratio = simulate(order, nodes)
        fetched = ratio * images * _IMAGE_BYTES
        yield Row(
            work=f"{nodes} nodes of {_NODE_RANKS} ranks with {_RANK_ROWS} images each",
            value=ratio,
            unit="bytes fetched per byte used",
            target=None,
            detail=f"{fetched / 1e12:.1f} TB and {fetched / _REQUEST_BYTES:,.0f} GETs per epoch",
        )


if __name__ == "__main__":
    main(measure)
