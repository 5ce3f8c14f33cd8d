"""Work on several processes that are forked from this one: what they work with need not be sent."""

import multiprocessing as mp
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from aed.base.errors import AedError
from aed.datamodules.cache.building import begin_worker

_work: Callable[[int], int] | None = None


def in_forks(work: Callable[[int], int], number: int, num_workers: int) -> Iterator[int]:
    """The results of ``work(0)`` to ``work(number - 1)`` in order; in this process where there are no others to be had.

    Raises:
        AedError: A process was killed.
    """
    global _work
    if min(num_workers, number) <= 1 or sys.platform != "linux":
        yield from map(work, range(number))
        return
    _work = work
    try:
        with ProcessPoolExecutor(min(num_workers, number), mp.get_context("fork"), begin_worker) as pool:
            yield from pool.map(_one, range(number))
    except BrokenProcessPool as error:
        raise AedError(
            "a process was killed, most likely out of memory; what others finished stays cached; run again with "
            "data.cache_workers=1"
        ) from error
    finally:
        _work = None


def _one(index: int) -> int:
    assert _work is not None
    return _work(index)
