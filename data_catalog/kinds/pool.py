"""A check of many examples on all cores, in the order given.

The first examples are checked in threads, so that a small dataset starts no process; the rest in
processes, since what is done around the decoding of a small image holds Python's lock. Nothing
that is found depends on where it was found.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from data_catalog.kinds.base import Checked
from data_catalog.sources.base import Example

THREADS = 4
IN_THREADS = 4096  # examples before processes are started, which takes a second
THREAD_ROWS = 32  # of a chunk for a thread
# Larger for a process: each waits three times for the lock of Python, 5 ms where that is busy.
CHUNK_ROWS = 512
CHUNK_BYTES = 4 << 20  # a chunk ends here too
AHEAD = 3  # chunks in flight for each worker

Check = Callable[[Example], Checked]


def check_in_order(check: Check, examples: Iterable[Example]) -> Iterator[Checked]:
    """Yields `check` of every example, in the order given.

    At most `AHEAD` chunks for each worker are in memory. Where giving examples fails, those that
    were given before are checked and yielded first.

    Args:
        check: A function of a module, which reads content and error of an example and no more.
        examples: Of any number.
    """
    remaining = iter(examples)
    first = islice(remaining, IN_THREADS)
    workers = cores()
    with threads(min(THREADS, workers)) as pool:
        yield from _mapped(pool, min(THREADS, workers), check, _chunks(first, THREAD_ROWS))
    for example in remaining:  # there are more
        remaining = chain([example], remaining)
        with processes(workers) if workers > 1 else threads(1) as pool:
            yield from _mapped(pool, workers, check, _chunks(remaining, CHUNK_ROWS))
        return


def cores() -> int:
    """Cores that this process may use, as its affinity and its control group say."""
    from joblib import cpu_count

    return cpu_count()


@contextmanager
def threads(workers: int) -> Iterator[Executor]:
    """A pool of threads, which begins nothing more when the block ends, however it ends.

    Args:
        workers: How many.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """A pool of processes, which are gone when the block ends, however it ends.

    They do not import the program that was started, so a script needs no guard around its code,
    and they end by themselves where their owner was killed.

    Args:
        workers: How many.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(workers, timeout=_IDLE_SECONDS)
    try:
        yield pool
    finally:
        # The few chunks that wait are done first: where they are cancelled, or the workers killed,
        # the thread that hands them out may look for one that is gone, and leave the processes.
        pool.shutdown(wait=True)


_IDLE_SECONDS = 60.0


def _mapped(
    pool: Executor, workers: int, check: Check, chunks: Iterator[list[Example]]
) -> Iterator[Checked]:
    waiting: deque[tuple[list[Example], Future[list[tuple[Any, ...]]]]] = deque()
    failure: Exception | None = None
    while True:
        try:
            chunk = next(chunks, None)
        except Exception as error:  # of the source: what it gave before comes first
            failure, chunk = error, None
        if chunk is None:
            break
        sent = [(example.content, example.path, example.error) for example in chunk]
        waiting.append((chunk, pool.submit(check_chunk, check, sent)))
        if len(waiting) >= workers * AHEAD:
            yield from _joined(*waiting.popleft())
    while waiting:
        yield from _joined(*waiting.popleft())
    if failure is not None:
        raise failure


def _chunks(examples: Iterable[Example], rows: int) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    size = 0
    failure: Exception | None = None
    remaining = iter(examples)
    while True:
        try:
            example = next(remaining)
        except StopIteration:
            break
        except Exception as error:  # of the source, raised again below
            failure = error
            break
        chunk.append(example)
        size += len(example.content)
        if len(chunk) >= rows or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
    if failure is not None:
        raise failure


def check_chunk(check: Check, chunk: list[tuple[bytes, str, str]]) -> list[tuple[Any, ...]]:
    """What a worker does; a content that stays as it is does not travel back.

    Args:
        check: See `check_in_order`.
        chunk: Content, path and error of each example.
    """
    found = []
    for content, path, error in chunk:
        checked = check(Example(content, path, error=error))
        same = checked.example.content is content
        found.append((None if same else checked.example.content, *checked[1:4], *_rest(checked)))
    return found


def _rest(checked: Checked) -> tuple[dict[str, Any] | None, bytes]:
    return dict(checked.findings) or None, checked.look


def _joined(chunk: list[Example], future: Future[list[tuple[Any, ...]]]) -> Iterator[Checked]:
    for example, found in zip(chunk, future.result(), strict=True):
        content, sha256, error, measures, findings, look = found
        whole = example if content is None else example._replace(content=content)
        checked = Checked(whole, sha256, error, measures, look=look)
        yield checked if findings is None else checked._replace(findings=findings)
