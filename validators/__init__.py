"""Bytes or headers in, a typed value or a Rejection out. Pure: no await, no clock, no socket."""
