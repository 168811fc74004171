"""Reads and writes the wire as values.  Sans-IO: bytes in, commands out."""
