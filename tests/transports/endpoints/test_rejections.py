"""The errors of the MCP endpoints."""

import pytest

from mcpbridged.transports.endpoints.rejections import (
    check_content_type,
    events_not_acceptable,
    method_not_allowed,
    not_acceptable,
    refuse_message,
)
from mcpbridged.validators.rejection import Rejection

from ...support.correlation import ids_in, without_ids
from ...support.exchange import FakeExchange, head

pytestmark = pytest.mark.anyio
REQUEST = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'
ERROR = b'{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"wrong"}}'


def test_a_wrong_method_gets_the_allowed_ones():
    rejection = method_not_allowed(b"GET, POST")
    assert (rejection.status, rejection.headers) == (405, ((b"Allow", b"GET, POST"),))


def test_a_wrong_accept_gets_the_type_that_it_lacks():
    assert not_acceptable().status == events_not_acceptable().status == 406
    assert "application/json" in not_acceptable().text
    assert events_not_acceptable().text == "Accept must allow text/event-stream"


@pytest.mark.parametrize("value", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/x"])
def test_content_types_that_pages_can_send_are_refused(value):
    with pytest.raises(Rejection) as caught:
        check_content_type(value)
    assert caught.value.status == 415
    check_content_type("application/json; charset=utf-8")


async def test_an_error_has_the_id_of_its_request_and_is_counted():
    exchange = FakeExchange(head())
    rejection = Rejection(400, -32602, "wrong", headers=((b"A", b"b"),))
    await refuse_message(exchange, REQUEST, rejection)
    [(status, kind, text)] = exchange.answers
    assert (status, kind, without_ids(text)) == (400, b"application/json", ERROR)
    correlation = (b"X-Request-Id", rejection.correlation_id.encode())
    assert (exchange.headers, exchange.refusals) == (((b"A", b"b"), correlation), [400])
    assert ids_in(text) == [rejection.correlation_id]


async def test_an_unreadable_message_has_the_id_null():
    exchange = FakeExchange(head())
    await refuse_message(exchange, b"{", Rejection(400, -32700, "wrong"))
    assert b'"id":null' in exchange.answers[0][2]


@pytest.mark.parametrize("status", [200, 400])
async def test_a_client_that_accepts_events_only_gets_an_event_where_the_status_allows(status):
    exchange = FakeExchange(head())
    await refuse_message(exchange, REQUEST, Rejection(status, -32602, "wrong"), json=False)
    if status == 200:
        assert exchange.answers == []
        assert without_ids(exchange.stream) == b"event: message\ndata: " + ERROR + b"\n\n"
    else:
        assert exchange.stream is None
        assert without_ids(exchange.answers[0][2]) == ERROR
