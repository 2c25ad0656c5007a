"""Endpoints of the MCP transports: Streamable HTTP, HTTP+SSE and WebSocket. May import process."""
