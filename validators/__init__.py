"""Validate bytes and headers: the result is a typed value or a Rejection. Pure: no await, no clock, no socket."""
