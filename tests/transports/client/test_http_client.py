import gc
import os
import re

import pytest
import trio
import trio.testing

from mcpbridged.transports.client.http_client import HttpClient
from mcpbridged.transports.client.options import RemoteOptions
from mcpbridged.transports.client.ports import LoginRequired, Unreachable
from mcpbridged.validators.limits import Limits
from mcpbridged.validators.remote_url import BadRemoteUrl

from ...support.resolver import refused_connections, resolving
from ...support.scripted_http import scripted_server

pytestmark = pytest.mark.anyio


async def answer_all(peer):
    while await peer.request():
        await peer.answer()


def lines_of(head):
    return head.decode().split("\r\n")


async def fetch(client, method="GET", url="", headers=(), body=None, **options):
    async with client.request(method, url, headers, body, **options) as response:
        return response.status, await response.read(1 << 20)


async def failure_of(client, url, **options):
    """Return the reason why a request fails, and whether it may have been received."""
    with pytest.raises(Unreachable) as failed:
        await fetch(client, url=url, **options)
    return failed.value.reason, failed.value.sent


# ---- what is sent


async def test_requests_share_a_connection_and_carry_no_more_than_was_given():
    async with scripted_server(answer_all) as server:
        options = RemoteOptions(server.url, headers=((b"X-Key", b"k"),))
        async with HttpClient(options) as client:
            assert await fetch(client, url=server.url) == (200, b"ok")
            assert await fetch(client, "POST", server.url, ((b"Accept", b"a/b"),), b"{}") == (200, b"ok")
        assert server.connections == 1
        first, second = (lines_of(head) for head, _ in server.requests)
        assert first[0] == "GET /mcp HTTP/1.1"
        names = sorted(line.partition(":")[0].lower() for line in first[1:])
        assert names == ["accept", "accept-encoding", "host", "user-agent", "x-key"]
        assert "Accept-Encoding: identity" in first
        assert "Accept: a/b" in second
        assert server.requests[1][1] == b"{}"


async def test_no_cookie_and_no_entry_of_netrc_is_sent(tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    async def set_cookie(peer):
        while await peer.request():
            await peer.answer(b"", b"200 OK", b"Set-Cookie: a=b")

    async with scripted_server(set_cookie) as server, HttpClient(RemoteOptions(server.url)) as client:
        for _ in range(2):
            await fetch(client, url=server.url)
        assert not re.search(rb"(?i)cookie|authorization", b"".join(head for head, _ in server.requests))


async def test_a_given_header_replaces_a_configured_header():
    async with scripted_server(answer_all) as server:
        options = RemoteOptions(server.url, headers=((b"Authorization", b"fixed"), (b"User-Agent", b"own")))
        async with HttpClient(options) as client:
            await fetch(client, url=server.url, headers=((b"authorization", b"given"),))
        (head, _) = server.requests[0]
        assert [line for line in lines_of(head) if "uthorization" in line] == ["authorization: given"]
        assert [line for line in lines_of(head) if "User-Agent" in line] == ["User-Agent: own"]


@pytest.mark.parametrize(
    "header",
    [
        (b"X", b"a\r\nY: b"),
        (b"X", b"a\nY: b"),
        (b"X", b"a\0b"),
        (b"X", b" a"),
        (b"X", b"\x7f"),
        (b"X: y\r\nZ", b"a"),
        (b"", b"a"),
        (b"X y", b"a"),
        (b"Host", b"other.example"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
    ],
)
async def test_a_header_that_would_be_another_request_is_refused(header):
    async with scripted_server(answer_all) as server, HttpClient(RemoteOptions(server.url)) as client:
        with pytest.raises(ValueError, match="header field"):
            await fetch(client, url=server.url, headers=(header,))
        with pytest.raises(ValueError, match="method"):
            await fetch(client, "GET / HTTP/1.1\r\nX:", server.url)
        assert server.connections == 0


async def test_a_request_to_another_origin_is_not_sent():
    async with (
        scripted_server(answer_all) as server,
        HttpClient(RemoteOptions("http://127.0.0.1:1/")) as client,
    ):
        reason, sent = await failure_of(client, server.url)
        assert "not the origin of the configured URL" in reason
        assert not sent
        assert server.connections == 0


async def test_a_url_that_cannot_be_used_is_refused():
    with pytest.raises(BadRemoteUrl):
        HttpClient(RemoteOptions("file:///etc/passwd"))
    async with HttpClient(RemoteOptions("http://127.0.0.1:1/")) as client:
        reason, sent = await failure_of(client, "http://user@127.0.0.1:1/")
        assert "user name" in reason
        assert not sent


# ---- connections


async def test_a_refused_connection_certainly_sent_nothing():
    async with HttpClient(RemoteOptions("http://127.0.0.1:1/mcp")) as client:
        reason, sent = await failure_of(client, "http://127.0.0.1:1/mcp")
        assert reason == "cannot connect to http://127.0.0.1:1: Connection refused"
        assert not sent


async def test_an_idle_connection_that_the_server_has_closed_is_not_used():
    async def answer_once(peer):
        await peer.request()
        await peer.answer()

    async with scripted_server(answer_once) as server, HttpClient(RemoteOptions(server.url)) as client:
        for _ in range(20):
            assert await fetch(client, url=server.url) == (200, b"ok")
            with trio.fail_after(5):
                while client._idle and not client._idle[0].connection.readable:
                    await trio.sleep(0)
        assert server.connections == 20


@pytest.mark.parametrize(
    ("fields", "pause", "connections"),
    [
        ((), 3.5, 1),
        ((), 4.5, 2),
        ((b"Keep-Alive: timeout=10, max=100",), 8.5, 1),
        ((b"Keep-Alive: timeout=10",), 9.5, 2),
        ((b"Keep-Alive: timeout=1",), 0, 2),
        ((b"Keep-Alive: timeout=x",), 3.5, 1),
        ((b"Connection: close",), 0, 2),
    ],
)
async def test_an_idle_connection_is_kept_as_long_as_the_server_keeps_it(
    fields, pause, connections, autojump_clock
):
    async def script(peer):
        while await peer.request():
            await peer.answer(b"ok", b"200 OK", *fields)

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        await fetch(client, url=server.url)
        await trio.sleep(pause)
        await fetch(client, url=server.url)
        assert server.connections == connections


@pytest.mark.parametrize("rest", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"])
async def test_bytes_after_a_response_are_never_the_next_response(rest):
    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + rest)
        await peer.request()
        await peer.answer(b"right")

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        for _ in range(3):
            assert await fetch(client, url=server.url) == (200, b"ok")
        assert server.connections == 3


async def test_a_response_with_two_lengths_ends_its_connection():
    async def script(peer):
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        )
        await peer.ended()

    async with scripted_server(script) as server, HttpClient(RemoteOptions(server.url)) as client:
        for _ in range(2):
            assert await fetch(client, url=server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_response_that_is_left_early_closes_its_connection_at_once():
    closed = trio.Event()

    async def stream_forever(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: \r\n\r\n")
        await peer.ended()
        closed.set()

    async with scripted_server(stream_forever) as server, HttpClient(RemoteOptions(server.url)) as client:
        async with client.request("GET", server.url) as response:
            assert await response.receive() == b": \r\n\r\n"
        with trio.fail_after(5):
            await closed.wait()
        with pytest.raises(trio.ClosedResourceError):
            await response.receive()


def open_files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("moment", ["head", "body", "connect"])
async def test_many_requests_that_are_cancelled_leave_no_descriptor(moment, secure, tls, ca_file):
    ended = 0

    async def script(peer):
        nonlocal ended
        if await peer.request() is not None:
            if moment == "body":
                await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            await peer.ended()
        ended += 1

    async with (
        scripted_server(script, tls=tls if secure else None) as server,
        HttpClient(RemoteOptions(server.url, ca_file=ca_file)) as client,
    ):
        if secure:
            # Starts the thread that reads the certificates.
            with trio.move_on_after(0.2):
                await fetch(client, url=server.url)
            server.requests.clear()
            await trio.sleep(0.1)
        before = open_files()
        waiting = 0

        async def request(scope):
            nonlocal waiting
            with scope:
                async with client.request("POST", server.url, (), b"x" * 100) as response:
                    while await response.receive():
                        waiting += 1

        for _ in range(3):
            async with trio.open_nursery() as nursery:
                scopes = [trio.CancelScope() for _ in range(100)]
                for scope in scopes:
                    nursery.start_soon(request, scope)
                if moment == "connect" and secure:
                    await trio.sleep(0.02)
                elif moment != "connect":
                    expected = len(server.requests) // 100 * 100 + 100
                    with trio.fail_after(60):
                        while len(server.requests) < expected or (moment == "body" and waiting < expected):
                            await trio.sleep(0.001)
                else:
                    await trio.testing.wait_all_tasks_blocked()
                for scope in scopes:
                    scope.cancel()
        with trio.fail_after(60):
            while ended < server.connections or open_files() > before:
                await trio.sleep(0.01)
        assert not client._open


async def test_closing_the_client_fails_its_requests():
    async with scripted_server(answer_none) as server, trio.open_nursery() as nursery:
        client = HttpClient(RemoteOptions(server.url))
        failed = []

        async def request():
            failed.append(await failure_of(client, server.url))

        nursery.start_soon(request)
        with trio.fail_after(5):
            while not server.requests:
                await trio.sleep(0.001)
        client.close()
        with trio.fail_after(5):
            while not failed:
                await trio.sleep(0.001)
        assert failed[0][1]


async def answer_none(peer):
    await peer.request()
    await peer.ended()


async def test_the_number_of_connections_is_limited():
    options = RemoteOptions("http://127.0.0.1:1/", limits=Limits(connections=1))
    async with scripted_server(answer_all) as server:
        options = RemoteOptions(server.url, limits=Limits(connections=1))
        async with HttpClient(options) as client, client.request("GET", server.url):
            reason, sent = await failure_of(client, server.url)
            assert "limits.connections" in reason
            assert not sent


# ---- times and sizes


async def test_a_response_that_does_not_begin_in_time_fails():
    async with scripted_server(answer_none) as server, HttpClient(RemoteOptions(server.url)) as client:
        reason, sent = await failure_of(client, server.url, idle_seconds=0.05)
        assert reason.endswith("has sent nothing for 0.05 s")
        assert sent


async def test_a_body_over_the_limit_of_its_reader_fails():
    async with scripted_server(answer_all) as server, HttpClient(RemoteOptions(server.url)) as client:
        async with client.request("GET", server.url) as response:
            assert await response.read(2) == b"ok"
        with pytest.raises(Unreachable, match="more than 1 bytes"):
            async with client.request("GET", server.url) as response:
                await response.read(1)


# ---- redirects


def redirecting(status, location):
    async def script(peer):
        while found := await peer.request():
            if b" /mcp " in found[0].split(b"\r\n")[0]:
                await peer.answer(b"", b"%d Moved" % status, b"Location: " + location.encode())
            else:
                await peer.answer(found[1])

    return script


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_to_the_same_origin_repeats_the_request(status):
    async with scripted_server(redirecting(status, "/other?x=1")) as server:
        options = RemoteOptions(server.url, headers=((b"X-Key", b"k"),))
        async with HttpClient(options) as client:
            assert await fetch(client, "POST", server.url, (), b"body") == (200, b"body")
        assert [lines_of(head)[0] for head, _ in server.requests] == [
            "POST /mcp HTTP/1.1",
            "POST /other?x=1 HTTP/1.1",
        ]
        assert all(b"X-Key: k" in head for head, _ in server.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_not_followed(status):
    async with scripted_server(answer_all) as other:
        async with scripted_server(redirecting(status, other.url)) as server:
            async with HttpClient(RemoteOptions(server.url, headers=((b"X-Key", b"k"),))) as client:
                reason, _ = await failure_of(client, server.url)
                assert f"redirects to http://127.0.0.1:{other.port}, which is not followed" in reason
        assert other.connections == 0


@pytest.mark.parametrize("location", ["", "javascript:1", "http://user@127.0.0.1/", "http://[/"])
async def test_a_redirect_without_a_usable_url_is_not_followed(location):
    async with (
        scripted_server(redirecting(307, location)) as server,
        HttpClient(RemoteOptions(server.url)) as client,
    ):
        reason, _ = await failure_of(client, server.url)
        assert "redirects" in reason


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_change_the_method_is_not_followed(status):
    async with (
        scripted_server(redirecting(status, "/other")) as server,
        HttpClient(RemoteOptions(server.url)) as client,
    ):
        reason, _ = await failure_of(client, server.url)
        assert f"with status {status}, which does not repeat a request" in reason
        assert len(server.requests) == 1


async def test_redirects_are_bounded():
    async with (
        scripted_server(redirecting(307, "/mcp")) as server,
        HttpClient(RemoteOptions(server.url)) as client,
    ):
        reason, sent = await failure_of(client, server.url)
        assert reason.endswith("sent more than 5 redirects")
        assert sent
        assert len(server.requests) == 6


# ---- credentials


class Keys:
    """An Authorizer with these keys; after the last it gives up."""

    def __init__(self, *keys):
        self.keys = list(keys)
        self.challenges = []

    async def headers(self):
        if not self.keys:
            raise LoginRequired("mcp-bridge login")
        return ((b"Authorization", self.keys[0]),)

    async def renew(self, challenge, used):
        self.challenges.append((challenge, used))
        if len(self.keys) == 1:
            return False
        self.keys.pop(0)
        return True


async def authorize(peer):
    while found := await peer.request():
        if b"Authorization: good" in found[0]:
            await peer.answer(b"in")
        else:
            await peer.answer(b"out", b"401 No", b"WWW-Authenticate: Bearer a, b", b"WWW-Authenticate: Basic")


@pytest.mark.parametrize(
    ("keys", "expected", "requests"),
    [
        (["good"], (200, b"in"), 1),
        (["bad", "good"], (200, b"in"), 2),
        (["bad"], (401, b"out"), 1),
        (["bad"] * 9, (401, b"out"), 4),
    ],
)
async def test_a_refused_request_is_sent_again_with_other_credentials(keys, expected, requests):
    async with scripted_server(authorize) as server:
        authorizer = Keys(*(key.encode() for key in keys))
        options = RemoteOptions(server.url, authorizer=authorizer, headers=((b"Authorization", b"fixed"),))
        async with HttpClient(options) as client:
            async with client.authorized_request("POST", server.url, (), b"{}") as response:
                assert (response.status, await response.read(100)) == expected
                assert await response.receive() == b""
        assert len(server.requests) == requests
        for challenge, used in authorizer.challenges:
            assert challenge == (401, ("Bearer a, b", "Basic"), server.url)
            assert used == ((b"Authorization", b"bad"),)


async def test_a_request_that_is_not_worth_a_login_is_sent_once():
    async with scripted_server(authorize) as server:
        authorizer = Keys(b"bad", b"good")
        async with (
            HttpClient(RemoteOptions(server.url, authorizer=authorizer)) as client,
            client.authorized_request("DELETE", server.url, renew=False) as response,
        ):
            assert response.status == 401
        assert (authorizer.challenges, len(server.requests)) == ([], 1)


async def test_without_credentials_a_request_is_not_sent():
    async with scripted_server(authorize) as server:
        async with HttpClient(RemoteOptions(server.url, authorizer=Keys())) as client:
            with pytest.raises(LoginRequired):
                async with client.authorized_request("POST", server.url):
                    pass
        async with HttpClient(RemoteOptions(server.url)) as client:
            async with client.authorized_request("POST", server.url) as response:
                assert response.status == 401
        assert len(server.requests) == 1


# ---- discovery


async def test_a_document_at_a_private_address_is_not_fetched():
    async with scripted_server(answer_all) as server:
        for home in ("https://a.example/", "https://8.8.8.8/", "https://10.0.0.1/"):
            with (
                resolving(a_example=[["8.8.8.8"]], b_example=[["8.8.8.8", "127.0.0.1"]]),
                refused_connections() as tried,
            ):
                async with HttpClient.for_discovery(RemoteOptions(home, proxy="")) as client:
                    for host in (
                        f"127.0.0.1:{server.port}",
                        f"localhost:{server.port}",
                        f"2130706433:{server.port}",
                        f"0x7f.1:{server.port}",
                        f"[::ffff:127.0.0.1]:{server.port}",
                        f"[::1]:{server.port}",
                        f"[64:ff9b::7f00:1]:{server.port}",
                        f"0.0.0.0:{server.port}",
                        "169.254.169.254",
                        f"b.example:{server.port}",
                    ):
                        for scheme in ("http", "https"):
                            reason, sent = await failure_of(client, f"{scheme}://{host}/")
                            assert "which the server has named, is not used" in reason
                            assert not sent
            assert tried == []
        assert server.connections == 0


async def test_a_name_that_changes_its_address_is_connected_to_the_address_that_was_checked():
    answers = {"a_example": [["8.8.4.4"]], "b_example": [["8.8.8.8"], ["127.0.0.1"]]}
    with resolving(**answers), refused_connections() as tried:
        async with HttpClient.for_discovery(RemoteOptions("https://a.example/", proxy="")) as client:
            reason, _ = await failure_of(client, "https://b.example/.well-known/x")
            assert reason == "cannot connect to https://b.example: Connection refused"
            assert tried == [("8.8.8.8", 443)]
            # The next request asks again, and is refused by its new answer.
            reason, _ = await failure_of(client, "https://b.example/.well-known/x")
            assert "127.0.0.1 is not public" in reason
            assert tried == [("8.8.8.8", 443)]


async def test_a_server_on_the_loopback_may_name_others_there():
    async with scripted_server(answer_all) as other:
        options = RemoteOptions("http://localhost:1/", headers=((b"X-Key", b"k"),))
        async with HttpClient.for_discovery(options) as client:
            assert await fetch(client, url=other.url) == (200, b"ok")
        assert b"X-Key" not in other.requests[0][0]
        options = RemoteOptions(other.url, headers=((b"X-Key", b"k"),))
        async with HttpClient.for_discovery(options) as client:
            assert await fetch(client, url=other.url) == (200, b"ok")
        assert b"X-Key" in other.requests[1][0]


async def test_a_redirect_of_a_document_is_refused():
    async with scripted_server(redirecting(307, "/other")) as server:
        async with HttpClient.for_discovery(RemoteOptions(server.url)) as client:
            reason, _ = await failure_of(client, server.url)
            assert "redirects" in reason
        assert len(server.requests) == 1


async def test_a_document_has_at_most_64_kib():
    async def script(peer):
        while found := await peer.request():
            await peer.answer(b"x" * (65536 + (b"/more" in found[0])))

    async with scripted_server(script) as server:
        async with HttpClient.for_discovery(RemoteOptions(server.url)) as client:
            assert len((await fetch(client, url=server.url))[1]) == 65536
            reason, _ = await failure_of(client, server.url.replace("/mcp", "/more"))
            assert "more than 65536 bytes" in reason


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_document_must_be_complete_after_5_seconds(begin, autojump_clock):
    async def script(peer):
        await peer.request()
        await peer.send(begin)
        while begin:
            await peer.send(b"x")
            await trio.sleep(0.1)
        await peer.ended()

    async with scripted_server(script) as server:
        async with HttpClient.for_discovery(RemoteOptions(server.url)) as client:
            started = trio.current_time()
            reason, sent = await failure_of(client, server.url)
            assert reason.endswith("has not sent a complete response in time")
            assert sent
            assert 4.9 < trio.current_time() - started < 5.2


@pytest.mark.parametrize("keys", [["bad", "good"], ["bad"]])
async def test_a_refusal_whose_body_has_no_end_is_read_for_a_limited_time(keys, autojump_clock):
    async def stall(peer):
        head, _ = await peer.request()
        if b"Authorization: good" in head:
            await peer.answer(b"in")
            return
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 10\r\n\r\nout")
        await peer.ended()

    async with scripted_server(stall) as server:
        options = RemoteOptions(server.url, authorizer=Keys(*(key.encode() for key in keys)), proxy="")
        with trio.fail_after(60):
            async with (
                HttpClient(options) as client,
                client.authorized_request("POST", server.url, (), b"{}") as response,
            ):
                assert await response.read(100) == (b"in" if len(keys) == 2 else b"out")


async def test_connections_that_are_being_opened_count_as_well():
    faults = []

    async def stall(peer):
        await peer.request()
        await peer.ended()

    async def fetch_one(client, url):
        try:
            await fetch(client, url=url)
        except Unreachable as fault:
            faults.append(fault)

    async with scripted_server(stall) as server:
        options = RemoteOptions(server.url, proxy="", limits=Limits(connections=2))
        async with HttpClient(options) as client, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(fetch_one, client, server.url)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert server.connections == 2
            assert [fault.sent for fault in faults] == [False] * 3
            nursery.cancel_scope.cancel()
