"""Pure adapters between revisions with a handshake and revision 2026-07-28. May import core."""
