"""The guest's kernel log, and what in it counts as a failure of the kernel."""

import re
import socket
import sys

from streams import Post, receive

# User space cannot cause a line of these by crashing: a program's own faults are logged as
# "segfault at" or "traps: NAME general protection fault ip:", without the "[#1]" of an oops.
# A WARNING is none of these: rxe itself warns of some registrations that it refuses.
FAULTS = re.compile(
    r"Kernel panic"
    r"|\bOops\b"
    r"|: [0-9a-f]{4} \[#\d+\]"
    r"|\bBUG: "
    r"|kernel BUG at "
    r"|blocked for more than \d+ seconds"
    r"|rcu: .*(detected stall|detected expedited stall|self-detected stall)"
)
TIMESTAMP = re.compile(r"^\[ *\d+\.\d+\] ")

TAINT_DIED = 1 << 7
TAINT_SOFT_LOCKUP = 1 << 14

TAIL_LINES = 40
LINES_BEFORE_FAULT = 10
LINES_AFTER_FAULT = 80
KEPT_LINES = 10_000


def taint_fault(taint: int) -> str | None:
    """Names the failure the kernel itself remembers in /proc/sys/kernel/tainted, if any."""
    if taint & TAINT_DIED:
        return "it is tainted by an oops"
    if taint & TAINT_SOFT_LOCKUP:
        return "it is tainted by a soft lockup"
    return None


class KernelLog:
    """Collects the log. `fault` is the first line that shows a failure, or None."""

    def __init__(self, echo: bool) -> None:
        self.fault: str | None = None
        self._fault_at = 0  # Its place in `_lines`, which is not shortened any more after it.
        self._echo = echo
        self._lines: list[str] = []

    def read(self, source: socket.socket, post: Post) -> None:
        """Reads until QEMU ends; posts ("fault",) at the first one."""
        pending = b""
        while chunk := receive(source):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._add(line, post)
        if pending:
            self._add(pending, post)

    def excerpt(self) -> list[str]:
        """The lines to show a person: around the fault, or the last ones."""
        if self.fault is None:
            return self._lines[-TAIL_LINES:]
        first = max(0, self._fault_at - LINES_BEFORE_FAULT)
        return self._lines[first:self._fault_at + LINES_AFTER_FAULT]

    def _add(self, raw: bytes, post: Post) -> None:
        line = raw.decode(errors="replace").replace("\r", "")
        if self._echo:
            print(f"  | {line}", file=sys.stderr, flush=True)
        self._lines.append(line)
        if self.fault is None and FAULTS.search(line):
            self.fault = TIMESTAMP.sub("", line)
            self._fault_at = len(self._lines) - 1
            post(("fault",))
        if self.fault is None:
            del self._lines[:-KEPT_LINES]
