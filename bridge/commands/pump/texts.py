"""Write our own JSON-RPC messages as raw text. Pure."""

# JSON-RPC 2.0 section 5.1.
_INTERNAL_ERROR = -32603


def string(text: str) -> bytes:
    """Return a JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return b'"%b"' % text.encode()
    import json  # noqa: PLC0415 - see the package's docstring

    return json.dumps(text).encode()


def error(raw_id: bytes, reason: str) -> bytes:
    """Return the error for a request whose connection was lost."""
    return (
        b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,"message":%b,"data":{"reason":"connection lost"}}}\n'
        % (raw_id, _INTERNAL_ERROR, string(reason))
    )


def cancellation(raw_id: bytes, reason: str) -> bytes:
    """Return the cancellation of a request of the server."""
    params = b'{"requestId":%b,"reason":%b}' % (raw_id, string(reason))
    return b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":%b}\n' % params


def notification(method: str, params: bytes = b"") -> bytes:
    """Return a notification; `params` is JSON text."""
    rest = b',"params":%b' % params if params else b""
    return b'{"jsonrpc":"2.0","method":"%b"%b}\n' % (method.encode(), rest)


def request(raw_id: bytes, method: str, params: bytes) -> bytes:
    """Return a request; `params` is JSON text."""
    return b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}\n' % (raw_id, method.encode(), params)
