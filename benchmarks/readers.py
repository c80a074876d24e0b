"""Simulate what the machines of a training fetch from a store, by the plan of the product.

`SampleOrder` and `positions_ahead` decide which shards a rank announces and reads; a node keeps
what it used last, up to 200 GB. Nothing is read. The data set has 10,000 images of 160 KB per
`--images`.
"""

import argparse
import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ssd_core.config import ConvertConfig
from ssd_core.data.batches.loader import positions_ahead
from ssd_core.data.batches.order import SampleOrder
from ssd_core.data.shards.manifest import (
    Shard,
    Split,
    make_manifest,
    read_manifest,
    shard_name,
    write_manifest,
)
from ssd_core.process.memory import read_peak_memory
from ssd_core.store import LocalDirectory
from ssd_core.store.layout import MANIFEST_FILE

_IMAGES = 10_000
"""Per unit of the size: at the default of 1,000 ten million."""
_IMAGE_BYTES = 160_000
_SHARD_BYTES = ConvertConfig().shard_bytes
_CASES = (*((nodes, _SHARD_BYTES) for nodes in (1, 8, 64, 1000)), (1000, _SHARD_BYTES // 8))
"""Nodes and bytes of a shard."""
_NODE_RANKS, _RANK_ROWS = 8, 32
_CACHE_BYTES = 200 * 10**9
_REQUEST_BYTES = 2**23
"""Of one GET."""
_STEPS = 200
"""Steps to simulate at most."""


class Node:
    """The cache of a node, which counts what it fetches."""

    def __init__(self, max_shards: int) -> None:
        self._max_shards = max_shards
        self._shards: OrderedDict[int, None] = OrderedDict()
        self.num_fetched = 0

    def use(self, shards: Iterable[int]) -> None:
        """Fetch the shards that are not there, and drop those that were used least recently."""
        for shard in shards:
            self.num_fetched += shard not in self._shards
            self._shards[shard] = None
            self._shards.move_to_end(shard)
            if len(self._shards) > self._max_shards:
                self._shards.popitem(last=False)


def simulate(images: int, nodes: int, shard_bytes: int) -> float:
    """Return the bytes that one node fetches per byte of the images that it trains on."""
    order = order_shards(images, shard_bytes)
    world_size = nodes * _NODE_RANKS
    batch_size = world_size * _RANK_ROWS
    num_steps = max(1, min(_STEPS, order.num_samples // batch_size))
    node = Node(_CACHE_BYTES // shard_bytes)
    for step in range(num_steps):
        for rank in range(_NODE_RANKS):
            parts = positions_ahead(step, batch_size=batch_size, rank=rank, world_size=world_size)
            node.use(order.shards_of(*parts))
    num_used = num_steps * _NODE_RANKS * _RANK_ROWS
    return node.num_fetched * shard_bytes / (num_used * _IMAGE_BYTES)


def order_shards(images: int, shard_bytes: int) -> SampleOrder:
    """Return the order of so many images in shards of this size."""
    rows = shard_bytes // _IMAGE_BYTES
    return SampleOrder([rows] * (images // rows), seed=1)


def measure(images: int) -> Iterator[str]:
    """Yield a line about the order of an epoch, about the manifest, and per number of nodes."""
    started = time.process_time()
    order_shards(images, _SHARD_BYTES).at(0)
    yield (
        f"order of an epoch of {images:,} images: {time.process_time() - started:.2g} s (CPU time) "
        f"per rank; peak of the process {(read_peak_memory() or 0) / 1e6:.0f} MB"
    )
    rows = _SHARD_BYTES // _IMAGE_BYTES
    yield measure_manifest(images // rows, rows)
    for nodes, shard_bytes in _CASES:
        ratio = simulate(images, nodes, shard_bytes)
        fetched = ratio * images * _IMAGE_BYTES
        request_bytes = min(_REQUEST_BYTES, shard_bytes)
        yield (
            f"{nodes} nodes of {_NODE_RANKS} ranks, {_RANK_ROWS} images per rank and step, "
            f"shards of {shard_bytes / 1e6:.0f} MB: {ratio:.3g} bytes fetched per byte used; "
            f"{fetched / 1e12:.1f} TB and {fetched / request_bytes:,.0f} GETs per epoch; "
            f"{fetched / request_bytes / images:.2g} GETs per image"
        )


def measure_manifest(num_shards: int, rows: int) -> str:
    """Return the size of a manifest that every rank reads at its start."""
    sha256 = hashlib.sha256().hexdigest()
    shards = tuple(
        Shard(name=shard_name("train", number), num_bytes=_SHARD_BYTES, rows=rows, sha256=sha256)
        for number in range(num_shards)
    )
    split = Split(images=rows * num_shards, boxes=rows * num_shards, max_boxes=1, shards=shards)
    manifest = make_manifest(
        ConvertConfig(), source={}, classes=(), splits={"train": split}, findings={}, listing_key=""
    )
    with TemporaryDirectory() as folder:
        write_manifest(Path(folder), manifest)
        num_bytes = Path(folder, MANIFEST_FILE).stat().st_size
        started = time.process_time()
        read_manifest(LocalDirectory(Path(folder)))
        seconds = time.process_time() - started
    return (
        f"manifest of {num_shards:,} shards: {num_bytes / 1e6:.3g} MB per rank; {seconds:.2g} s "
        f"(CPU time) to read it, and {-(-num_shards // 1000)} listings"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    for line in measure(_IMAGES * parser.parse_args().images):
        print(line, flush=True)
