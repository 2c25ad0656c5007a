"""The text of a new configuration file. Its keys are comments, so that every default applies."""

from typing import Final

TEMPLATE: Final = """\
# Configuration of mcp-bridge; `man mcp-bridge.toml` describes every key.
# `mcp-bridge add NAME -- COMMAND ARGS...` adds a server, `mcp-bridge edit` opens this file and checks it before it is saved,
# and `mcp-bridge reload` applies it to a running daemon.

[listen]
# The loopback address for clients, or false for the Unix socket only.
# http = "127.0.0.1:8808"
# Web pages that may connect, such as the MCP Inspector.
# origins = ["http://localhost:6274"]

[log]
# level = "info"
# One line for each request.
# calls = true

# A local server. ~ is the home directory.
# [servers.time]
# command = "uvx"
# args = ["mcp-server-time"]
# cwd = "~"
# Variables, and secrets that are kept elsewhere: a file of mode 0600, "exec:COMMAND", or "credential:NAME".
# env.TZ = "UTC"
# secrets.API_KEY = "exec:pass show api-key"
# tools.deny = ["delete_*"]
# Files and network that it may use: "landlock" (Linux 6.2) or "bwrap" (bubblewrap); see SANDBOX in the manual.
# sandbox = "landlock"
# read = ["~/notes"]
# write = ["~/.cache/time"]
# network = false

# A remote server. `mcp-bridge login example` logs in, if it requires that.
# [servers.example]
# url = "https://mcp.example.com/mcp"

# Several servers as one, at /mcp.
# [aggregate]
# servers = ["time", "example"]

# Another selection, at /aggregates/work/mcp. Tools are named SERVER__TOOL.
# [aggregates.work]
# servers = ["*"]
# tools.deny = ["*__delete_*"]
# rename.time__get_current_time = "now"
# Three tools that search and call the others, for clients that put all definitions into each prompt.
# surface = "search"
"""
