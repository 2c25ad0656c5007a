"""A real bridge in front of a real server, for tests with large and unusual messages."""

from .hostile_bridge import running

__all__ = ["raw_answer", "running"]


def raw_answer(id_, text):
    """Return a request on which the server writes this text. $ID stands for the id of the request."""
    return {"jsonrpc": "2.0", "id": id_, "method": "test/raw", "params": {"hex": text.hex()}}
