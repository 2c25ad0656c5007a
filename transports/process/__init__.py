"""Server processes: start them, read their output, and end everything that they have started."""
