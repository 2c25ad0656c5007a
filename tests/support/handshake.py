"""The handshake of the legacy revisions (MCP 2025-11-25 basic/lifecycle). Standard library only."""

VERSION = "2025-11-25"
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def initialize_params(version=VERSION, capabilities=None, name="test", release="1"):
    """Return the params of `initialize` of a client with this name."""
    return {
        "protocolVersion": version,
        "capabilities": capabilities or {},
        "clientInfo": {"name": name, "version": release},
    }


def initialize_request(id_=0, **params):
    """Return an `initialize` request. `params` are those of `initialize_params`."""
    return {"jsonrpc": "2.0", "id": id_, "method": "initialize", "params": initialize_params(**params)}
