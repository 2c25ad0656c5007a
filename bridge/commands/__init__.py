"""The command line: `mcp-bridge --stdio` and the commands that talk to a running daemon."""
