"""Run the parts of a conversion, in this process or in several; the results come in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ssd_core.data.ahead import map_on
from ssd_core.data.pack_part import Job, Part, pack_part
from ssd_core.data.shards.journal import Entry
from ssd_core.errors import SurroundingsError

_job: Job
"""Of a worker process: what all its parts share."""


def pack_here(
    job: Job, parts: Iterable[Part], on_image: Callable[[int], None]
) -> Generator[Entry, None, None]:
    """Pack the parts one after the other; `on_image` gets the number done of the present part."""
    for part in parts:
        yield pack_part(job, part, on_image)


def pack_in_workers(
    job: Job, parts: Iterable[Part], num_workers: int
) -> Generator[Entry, None, None]:
    """Pack the parts in worker processes, a few ahead of the one whose result is asked for.

    The workers are started anew instead of forked, because this process may run threads.

    Raises:
        SurroundingsError: a worker was killed.
    """
    with ProcessPoolExecutor(
        num_workers, multiprocessing.get_context("spawn"), _start_worker, (job,)
    ) as pool:
        try:
            yield from map_on(pool, _pack_in_worker, parts, depth=2 * num_workers)
        except BrokenProcessPool:
            raise SurroundingsError(
                "a worker process of the conversion was killed, perhaps for its memory; repeat "
                "the command, with fewer --workers"
            ) from None


def _start_worker(job: Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave nothing behind that writes: a killed parent could not tell its workers to stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _pack_in_worker(part: Part) -> Entry:
    return pack_part(_job, part)
