"""The params and results of each method of each revision of MCP, as types that msgspec checks."""
