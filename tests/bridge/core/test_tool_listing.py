"""Calls that wait for a list of tools."""

from mcpbridged.bridge.core.tool_listing import ToolListing
from mcpbridged.validators.jsonrpc import Request, Response
from mcpbridged.validators.limits import Limits


def call(wire_id):
    return Request(wire_id, "tools/call", b'{"name":"x"}')


def page(cursor=""):
    return Response(
        b"9", b'{"tools":[]%b}' % (b',"nextCursor":"%b"' % cursor.encode() if cursor else b""), b""
    )


def test_a_list_is_requested_to_its_end():
    listing = ToolListing(Limits())
    assert listing.begin(b"9", b"") == Request(b"9", "tools/list", b"")
    assert listing.listing_id == b"9"
    assert listing.end(page("a")) == b'"a"'
    assert listing.listing_id == b""
    assert listing.begin(b"10", b'"a"').params == b'{"cursor":"a"}'
    assert listing.end(page()) == b""


def test_a_list_without_an_end_is_ended():
    listing = ToolListing(Limits(list_pages=3))
    cursor, pages = b"", 0
    while True:
        listing.begin(b"9", cursor)
        pages += 1
        if not (cursor := listing.end(page("again"))):
            break
    assert pages == 3


def test_an_error_ends_the_list():
    assert ToolListing(Limits()).end(Response(b"9", b"", b"{}")) == b""


def test_calls_are_taken_in_their_order_and_removed_by_their_id():
    listing = ToolListing(Limits())
    for number in (b"1", b"2", b"3"):
        listing.add(call(number), b"t" + number)
    assert listing.remove(b"2")
    assert not listing.remove(b"2")
    assert listing.take() == [(call(b"1"), b"t1"), (call(b"3"), b"t3")]
    assert listing.take() == []


def test_all_is_removed_with_the_process():
    listing = ToolListing(Limits())
    listing.add(call(b"1"), b"")
    listing.begin(b"9", b"")
    assert listing.clear() == [b"1"]
    assert (listing.listing_id, listing.take()) == (b"", [])
