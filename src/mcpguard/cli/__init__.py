"""Holds the commands, and the one place where errors become text."""
