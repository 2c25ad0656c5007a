"""The daemon: a pure core that decides and a thin shell that acts. May import transports and validators."""
