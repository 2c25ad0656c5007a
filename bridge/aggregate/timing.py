"""The waiting times of the aggregate (seconds), in one module because several parts wait for the same servers."""

from typing import Final

# For a server that all requests wait for, and for a connection to be opened.
PATIENCE = 30.0
# For a server that a request need not wait for. Its part comes later, with list_changed.
PROMPT: Final = 0.3
# For the first request of a client to a server that has never answered it.
FIRST: Final = 0.6
# For a server that may be starting, since the client's first request to it: at least, and at most. Between the two, it is
# three times as long as another server has taken.
STARTING: Final = (1.0, 3.0)
# Before a request is sent again whose server is being replaced, and how often it is sent.
SUCCESSION: Final = 0.1
SUCCESSORS: Final = 4
# For the last responses of a removed server, beyond `drain_seconds`: the daemon ends what it removes as well.
SLACK: Final = 0.5
# Before a subscription is made again that a server has ended or refused. The delay doubles, from the first to the last.
LISTEN_AGAIN: Final = (1.0, 60.0)
# A connection without a request for this long is closed. The client finds its process by another connection.
IDLE: Final = 60.0
# For the notification that a server was removed, after it has closed a connection.
REASON: Final = 0.5
