"""The OAuth client of remote servers: discovery, login, credentials and their store."""
