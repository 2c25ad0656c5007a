"""The configuration: read, check, edit and import it, and what it names: secrets, variables, programs."""
