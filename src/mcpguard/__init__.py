"""Policies enforced in front of MCP servers, on this machine."""

__version__ = "0.1.0"
