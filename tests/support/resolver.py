"""Names and connections of a test, without a network."""

import errno
import socket
from contextlib import contextmanager

import trio


class Resolver(trio.abc.HostnameResolver):
    """Resolves names to these answers, one after the other; the last is repeated. An answer is a list of addresses."""

    def __init__(self, answers):
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 - named so by the base class
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.answers:
            return await trio.to_thread.run_sync(socket.getaddrinfo, host, port, family, type, proto, flags)
        found = self.answers[name]
        addresses = found.pop(0) if len(found) > 1 else found[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in addresses
        ]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


@contextmanager
def resolving(**answers):
    """Resolve names, written with underscores for dots, to these answers. Other names are resolved by the system."""
    trio.socket.set_custom_hostname_resolver(Resolver(answers))
    try:
        yield
    finally:
        trio.socket.set_custom_hostname_resolver(None)


class _RefusingSocket(trio.socket.SocketType):
    def __init__(self, tried):
        self._tried = tried

    def setsockopt(self, *_):
        pass

    def close(self):
        pass

    async def connect(self, address):
        self._tried.append(address[:2])
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ECONNREFUSED, "Connection refused")


@contextmanager
def refused_connections():
    """Refuse all connections of this task, and yield the list of the addresses to which they were tried."""
    tried = []

    class Factory(trio.abc.SocketFactory):
        def socket(self, *_):
            return _RefusingSocket(tried)

    trio.socket.set_custom_socket_factory(Factory())
    try:
        yield tried
    finally:
        trio.socket.set_custom_socket_factory(None)
