"""mcp-bridge: exposes local stdio MCP servers over HTTP and WebSocket."""
