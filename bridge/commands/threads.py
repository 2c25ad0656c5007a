"""Run the same work for many items on a few threads."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")
# How many servers a command examines at the same time.
AT_ONCE: Final = 8


def map_in_threads(
    work: Callable[[T], R], items: Sequence[T], limit: int, done: Callable[[], None]
) -> Iterator[R]:
    """Yield the result for each item, in order, with at most `limit` items in work.

    Calls `done` on a thread after each item, and before its result is yielded. An exception of the work is raised in place of
    its result. The threads are daemon threads, so that an interrupted command exits at once.
    """
    results: list[Future[R]] = [Future() for _ in items]
    waiting = iter(range(len(items)))
    lock = threading.Lock()

    def work_through() -> None:
        while True:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            try:
                try:
                    result = work(items[index])
                finally:
                    done()
            # allowed: cancellation-dropped - raised again in place of the result; Trio does not run here
            except BaseException as fault:  # noqa: BLE001 - raised again in place of the result
                results[index].set_exception(fault)
            else:
                results[index].set_result(result)

    for _ in range(min(limit, len(items))):
        threading.Thread(target=work_through, daemon=True).start()
    for result in results:
        yield result.result()
