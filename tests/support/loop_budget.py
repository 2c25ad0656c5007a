"""A real bridge in front of a real server, for what large and odd messages do to it."""

from .hostile_bridge import running

__all__ = ["raw_answer", "running"]


def raw_answer(id_, text):
    """A request that the server answers with this text; $ID stands for the id of the request."""
    return {"jsonrpc": "2.0", "id": id_, "method": "test/raw", "params": {"hex": text.hex()}}
