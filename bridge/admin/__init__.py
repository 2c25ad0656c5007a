"""The page at /admin: its sign-in, its static files, its data and its event stream. It is off by default."""
