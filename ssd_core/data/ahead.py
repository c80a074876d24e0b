"""Work done in order on threads, ahead of its consumer."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

from ssd_core.process.processor import count_processors

_MAX_THREADS = 8

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_ahead(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, num_threads: int, depth: int
) -> Generator[ResultT, None, None]:
    """Yield `work(item)` for every item in order, with at most `depth` results waiting.

    `work` runs on other threads and should release the GIL; `items` are read on the thread of the
    consumer. An error of `work` is raised in place of its result; a consumer that stops early waits
    only for items already in progress.
    """
    waiting: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def map_batches_ahead(
    work: Callable[[ItemT], ResultT],
    items: Iterable[ItemT],
    *,
    batch_size: int,
    depth: int | None = None,
) -> Generator[list[ResultT], None, None]:
    """Yield the results of `map_ahead` in batches, as all that runs a detector needs them.

    One thread per processor, eight at most, works `depth` results ahead, by default about two
    batches.
    """
    if depth is None:
        depth = 2 * batch_size + _MAX_THREADS
    num_threads = min(_MAX_THREADS, count_processors())
    results = map_ahead(work, items, num_threads=num_threads, depth=depth)
    with closing(results):
        yield from batched(results, batch_size)


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Yield the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
