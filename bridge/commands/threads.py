"""Do the same work for many things on a few threads, in a command that a person waits for."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    work: Callable[[T], R], things: Sequence[T], at_once: int, done: Callable[[], None]
) -> Iterator[R]:
    """Yield the result for each thing, in order, with so many in work at a time. Calls `done` on a thread after each.

    What the work raises is raised here, where its result is due. The threads end with the process, so that a command which
    is interrupted need not wait for them.
    """
    results: list[Future[R]] = [Future() for _ in things]
    waiting = iter(range(len(things)))
    lock = threading.Lock()

    def go() -> None:
        while True:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            try:
                result = work(things[index])
            except BaseException as fault:  # noqa: BLE001 - raised again where the result is due
                results[index].set_exception(fault)
            else:
                results[index].set_result(result)
            done()

    for _ in range(min(at_once, len(things))):
        threading.Thread(target=go, daemon=True).start()
    for result in results:
        yield result.result()
