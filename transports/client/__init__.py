"""Clients of remote MCP servers: Streamable HTTP, HTTP+SSE and WebSocket."""
