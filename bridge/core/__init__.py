"""Pure decisions: sessions, request ids, attribution, policies. No await, no clock, no socket, no file."""
