"""Server processes and the clients that use them: carry out what the core and the adapters decide."""
