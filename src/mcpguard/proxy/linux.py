"""What only Linux has, and what takes its place elsewhere: the only module that knows `/proc`, `prctl(2)` and `mallopt(3)`.

Every function answers on any system; its docstring says what it gives where Linux is not.  Imported before the server is started, so
it imports next to nothing itself.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

_SET_CHILD_SUBREAPER: Final = 36
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_COERCED_LOCALES: Final = ("C.UTF-8", "C.utf8", "UTF-8")
_ARG_START: Final = 47
"""Which field of `/proc/self/stat` says where the words of the command line begin (`proc_pid_stat(5)`), counted from 0."""

_PIPE_BYTES: Final = 1 << 18

FINDS_DESCENDANTS: Final = os.path.exists("/proc/self/stat")
"""Whether `find_descendants` finds any on this system."""


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant whose own parent ends; say whether it worked.

    So whatever a server leaves behind stays within `find_descendants`.  Elsewhere: False, and orphans are lost.
    """
    return _call("prctl", _SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def find_descendants(ancestor: int) -> list[int]:
    """Give the pids of all living descendants of a process.  Elsewhere: none."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if not name.isdigit():
            continue
        try:
            stat = _read(f"/proc/{name}/stat")
        except OSError:
            continue
        state, parent = stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[:2]
        if state != b"Z":
            children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    queue = [ancestor]
    while queue:
        mine = children.get(queue.pop(), [])
        found += mine
        queue += mine
    return found


def _read(path: str) -> bytes:
    """Read a short file of `/proc`, in three system calls: at the end of a run there are many of them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def title_of(pid: int) -> str:
    """Give the name of a process, cut to 15 characters by the kernel.  Elsewhere, and of one that has ended: an empty one."""
    try:
        return _read(f"/proc/{pid}/comm").decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def memory_of(pids: Sequence[int]) -> tuple[str, int] | None:
    """Give how many bytes of memory processes have together, and as what: `pss`, in which what they share with others is divided
    among all, or `rss`, in which it counts for each.  Elsewhere, and if one of them has ended: None.
    """
    try:
        return "pss", sum(map(_proportional_bytes, pids))
    except (OSError, LookupError, ValueError):
        pass
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return "rss", sum(int(_read(f"/proc/{pid}/statm").split()[1]) * page for pid in pids)
    except (OSError, LookupError, ValueError):
        return None


def _proportional_bytes(pid: int) -> int:
    rollup = _read(f"/proc/{pid}/smaps_rollup")
    return int(rollup[rollup.index(b"\nPss:") + len(b"\nPss:") :].split(maxsplit=1)[0]) * 1024


def inherited_environment() -> Mapping[str, str]:
    """Give the environment as it was before Python set LC_CTYPE in it, which it does in the C locale (PEP 538).

    Elsewhere: as it is.
    """
    if os.environ.get("LC_CTYPE") not in _COERCED_LOCALES:
        return os.environ
    try:
        with open("/proc/self/environ", "rb") as file:
            ours = b"\0LC_CTYPE=" not in b"\0" + file.read()
    except OSError:
        return os.environ
    return {name: value for name, value in os.environ.items() if not (ours and name == "LC_CTYPE")}


def open_descriptors() -> list[int]:
    """Give the numbers of this process's descriptors.  Elsewhere: what `/dev/fd` shows, or else the first 256."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return [int(name) for name in os.listdir(directory)]
        except OSError:
            continue
    return list(range(256))


def open_anew(fd: int) -> int:
    """Open the pipe or the terminal behind a descriptor once more for writing, without blocking; the descriptor itself stays as it is.

    Raises:
        OSError: that cannot be done, as everywhere else.
    """
    return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def rename(title: str) -> None:
    """Change what `ps` shows of this process.  Elsewhere: nothing."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(title.split(maxsplit=1)[0])
        stat = _read("/proc/self/stat")
        start, end = map(int, stat[stat.rindex(b")") + 2 :].split()[_ARG_START - 2 :][:2])
        memory = os.open("/proc/self/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(memory, title.encode()[: end - start - 1].ljust(end - start, b"\0"), start)
        finally:
            os.close(memory)
    except (OSError, ValueError):
        return


def keep_freed_memory() -> None:
    """Let the allocator keep what long messages used, up to 16 MiB (glibc: `mallopt(3)`).  Elsewhere: nothing.

    By default it gives every megabyte back at once and has it zeroed by the kernel again for the next message, which costs more
    than to read and judge it.
    """
    _call("mallopt", _MMAP_THRESHOLD, 4 << 20)
    _call("mallopt", _TRIM_THRESHOLD, 16 << 20)


def widen(pipe_fd: int) -> None:
    """Let a pipe hold 256 KiB, four times the usual, so that a long message changes hands less often (`fcntl(2)`).  Elsewhere, and where that is
    more than this user may have: it stays as it is.
    """
    import fcntl

    try:
        fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):
        return


def let_others_run() -> None:
    """Let whoever waits for this CPU have it first.  Elsewhere: nothing, they are on their own."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()


def _call(name: str, *numbers: int) -> int | None:
    """Call a function of the C library that takes integers and gives one; None if it has none of this name."""
    try:
        # The machinery of `ctypes` without the package around it, which takes 2 ms to import: this comes before a server's start.
        import _ctypes

        function = _ctypes.dlsym(_ctypes.dlopen(None, 0), name)  # type: ignore[arg-type]
        result = _ctypes.call_function(function, numbers)
    except (ImportError, AttributeError, OSError, TypeError):
        return None
    assert isinstance(result, int)
    return result
