"""Answers MCP requests as `echo.c` does, where there is no C compiler.

Usage: `echo.py [TOOLS]`.  Slower than the C program, so that whatever stands before it looks cheaper than it is.
"""

from __future__ import annotations

import json
import sys

TOOL = {
    "description": "Gives the text back. One of many tools that differ in nothing but the name.",
    "inputSchema": {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The text to give back."}},
        "required": ["text"],
    },
    "annotations": {"readOnlyHint": True},
}


def main(tools: int) -> None:
    """Answer every line of stdin until it ends."""
    tool_list = {"tools": [{"name": f"echo_{number}", "title": f"Echo {number}", **TOOL} for number in range(tools)]}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "id" not in request:
            continue
        params = request.get("params", {})
        match request.get("method"):
            case "tools/call":
                result: object = {"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": False}
            case "tools/list":
                result = tool_list
            case "initialize":
                result = {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "echo", "version": "1"},
                }
            case "ping":
                result = {}
            case _:
                say({"id": request["id"], "error": {"code": -32601, "message": "method not found"}})
                continue
        say({"id": request["id"], "result": result})


def say(answer: dict[str, object]) -> None:
    """Write one answer at once."""
    line = json.dumps({"jsonrpc": "2.0", **answer}, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.buffer.write(line.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
