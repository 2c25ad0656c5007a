"""`mcp-bridge connect NAME|URL`: expose a server of the daemon, or a remote server, on stdin and stdout."""
