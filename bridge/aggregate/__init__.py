"""Several servers offered as one: a stdio server of revision 2026-07-28 that the daemon starts."""
