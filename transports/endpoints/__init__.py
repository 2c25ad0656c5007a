"""The transports of MCP over HTTP: Streamable HTTP, HTTP+SSE and WebSocket. May import process."""
