"""A request on a connection that has served a request with the same head is answered as on a new connection.

The bridge serves such a request in the callback that reads it, if the request is an ordinary call. All others must get the
same response as without this shortcut.
"""

import pytest

from ..support.json_texts import META, REVISION

GOOD = {
    "legacy": b'{"jsonrpc":"2.0","id":1,"method":"test/echo","params":{"name":"echo"}}',
    "modern": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",%b}}' % META,
}
MORE = b'"x":%b'
VALUES = {
    "ordinary": b'"a"',
    "no value": b"[1,",
    "no UTF-8": b'"\xff"',
    "deep": b"[" * 80 + b"]" * 80,
    "surrogate": rb'"\ud800"',
    "repeated": b'1,"x":2',
    "line ends": b"[1,\r\n2]",
}
# Whole messages. $P stands for the params of the era.
MESSAGES = {
    "empty": b"",
    "no object": b"1",
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "spaces before": b'  {"jsonrpc":"2.0","id":1,"method":"tools/call","params":$P}',
    "another version": b'{"jsonrpc":"1.0","id":1,"method":"tools/call","params":$P}',
    "an id that is none": b'{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":$P}',
    "a long id": b'{"jsonrpc":"2.0","id":"%b","method":"tools/call","params":$P}' % (b"x" * 300),
    "a method with a space": b'{"jsonrpc":"2.0","id":1,"method":"tools call","params":$P}',
    "an unknown method": b'{"jsonrpc":"2.0","id":1,"method":"test/other","params":$P}',
    "a notification": b'{"jsonrpc":"2.0","method":"notifications/test","params":$P}',
    "a response": b'{"jsonrpc":"2.0","id":1,"result":{}}',
    "initialize": b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":$P}',
    "ping": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":$P}',
    "params that are none": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[1]}',
    "a name that is none": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}',
    "a name with a line end": rb'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\nb"}}',
    "a long name": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%b"}}' % (b"x" * 300),
    "a token that is none": b'{"jsonrpc":"2.0","id":1,"method":"tools/call",'
    b'"params":{"name":"echo","_meta":{"progressToken":[]}}}',
    "the other era": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"other",%b}}' % META,
    "a version that is not spoken": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",%b}}'
    % META.replace(REVISION.encode(), b"2099-01-01"),
    "listen": b'{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":$P}',
}


def bodies(era):
    """Return the texts by name. No text is shorter than the valid request."""
    good = GOOD[era]
    found = {
        name: good.replace(b'"name":"echo"', b'"name":"echo",' + MORE % one) for name, one in VALUES.items()
    }
    params = good.partition(b'"params":')[2][:-1]
    found |= {name: one.replace(b"$P", params) for name, one in MESSAGES.items()}
    return {name: body.ljust(len(good)) for name, body in found.items()}


@pytest.fixture(scope="module", params=["legacy", "modern"])
def era(request):
    return request.param


@pytest.fixture(scope="module")
def post(bridge, session, era):
    """Return a function that makes requests whose heads are equal for bodies of equal length."""

    def make(body):
        if era == "legacy":
            return bridge.post(body, session)
        headers = f"MCP-Protocol-Version: {REVISION}", "Mcp-Method: tools/call", "Mcp-Name: echo"
        return bridge.post(body).add(*headers)

    return make


@pytest.mark.parametrize("name", [*VALUES, *MESSAGES])
def test_a_repeated_request_is_answered_as_on_a_new_connection(bridge, post, era, name):
    body = bodies(era)[name]
    good = post(GOOD[era].ljust(len(body)))
    expected = bridge.exchange(post(body))
    with bridge.connect() as connection:
        connection.send(good)
        first = connection.reply()
        assert first.status == 200, first
        connection.send(post(body))
        assert connection.reply().constant_part == expected.constant_part
        connection.send(good)
        assert connection.reply().constant_part == first.constant_part
