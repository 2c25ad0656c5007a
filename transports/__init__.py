"""Trio at the edges: listeners, HTTP, event streams, WebSocket and child processes. May import validators."""
