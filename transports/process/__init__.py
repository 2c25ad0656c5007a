"""Start server processes, read their output, and terminate all their descendants."""
