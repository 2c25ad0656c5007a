import re

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
