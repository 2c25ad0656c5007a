"""The process that serves: sockets, the table of servers, signals, reload, and the control API."""
