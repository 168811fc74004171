"""Runs the guard: the server's process, the pumps, and the point where a policy is enforced."""
