"""The end of a server, as it is described in errors."""

from mcpbridged.transports.server_io import Exit


def test_an_exit_describes_itself():
    assert Exit(signal=200).describe() == "was killed by signal 200"
    assert Exit(code=1, reason="did this").describe() == "did this"
