"""HTTP/1.1 and HTTP/2: accept connections, parse, admit and route requests. May import endpoints."""
