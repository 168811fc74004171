"""Holds cases of bytes that no stdio MCP guard may let through, and a runner to try them on any guard: see README.md."""
