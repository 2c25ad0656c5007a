"""`mcp-bridge doctor`: diagnose this machine and the configuration, and suggest fixes."""
