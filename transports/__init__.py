"""Listeners, HTTP, event streams, WebSocket and server processes, on Trio. May import validators."""
