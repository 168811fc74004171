"""Keeps what outlives a message: files on disk and counters."""
