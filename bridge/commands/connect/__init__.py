"""`mcp-bridge connect NAME|URL`: expose a server of a bridge on stdin and stdout."""
