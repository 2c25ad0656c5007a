import gc
import re
import weakref

from mcpbridged.transports.correlation import data_of, headers_of, id_of, new_id
from mcpbridged.validators.rejection import Rejection


def test_an_id_is_random_and_made_once_for_a_rejection():
    first, second = Rejection(400, 0, "a"), Rejection(400, 0, "a")
    assert first.correlation_id == ""
    assert id_of(first) == id_of(first) == first.correlation_id
    assert id_of(first) != id_of(second)
    assert re.fullmatch("[0-9a-f]{16}", new_id())


def test_header_and_data_have_the_id_and_what_the_rejection_has():
    rejection = Rejection(400, 0, "a", headers=((b"A", b"b"),), data={"reason": "x"})
    found = id_of(rejection)
    assert headers_of(rejection) == ((b"A", b"b"), (b"X-Request-Id", found.encode()))
    assert data_of(rejection) == {"reason": "x", "correlationId": found}
    assert rejection.data == {"reason": "x"}


class Exchange:
    """A request that refers to its rejection, as one whose refusal is written by a task."""


def test_a_refused_request_is_freed_without_the_garbage_collector():
    def refused():
        exchange = Exchange()
        try:
            try:
                raise ValueError("the cause")
            except ValueError:
                raise Rejection(429, 0, "a") from None
        except Rejection as rejection:
            exchange.rejection = rejection
        id_of(exchange.rejection)
        return weakref.ref(exchange)

    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()
