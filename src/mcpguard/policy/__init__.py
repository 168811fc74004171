"""Decides what is allowed, and why.  Pure: no IO, no clock, no async."""
