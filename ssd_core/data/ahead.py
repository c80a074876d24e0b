"""Work done on threads or processes ahead of the one who uses it, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

from ssd_core.processor import count_processors

_MAX_THREADS = 8

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def map_ahead(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, num_threads: int, depth: int
) -> Generator[ResultT, None, None]:
    """Yield `work(item)` of every item in order, with at most `depth` results waiting.

    An error of `work` is raised where its result would have been; a consumer that stops early
    waits only for what is already being worked on.

    Args:
        work: called on other threads; heavy work in it must release the interpreter's lock.
        items: read on the thread of the consumer.
        num_threads: threads at work.
        depth: largest number of results not yet asked for; bounds the memory.
    """
    with ThreadPoolExecutor(num_threads) as pool:
        yield from map_on(pool, work, items, depth=depth)


def map_on(
    pool: Executor, work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, depth: int
) -> Generator[ResultT, None, None]:
    """Do what `map_ahead` does on threads or processes that the caller provides."""
    waiting: deque[Future[ResultT]] = deque()
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
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, batch_size: int
) -> Generator[list[ResultT], None, None]:
    """Yield the results of `map_ahead` in batches, as evaluation and benchmark feed a detector.

    One thread a processor, eight at most, works about two batches ahead.
    """
    results = map_ahead(
        work,
        items,
        num_threads=min(_MAX_THREADS, count_processors()),
        depth=2 * batch_size + _MAX_THREADS,
    )
    with closing(results):
        yield from batched(results, batch_size)


def batched(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    """Yield the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
