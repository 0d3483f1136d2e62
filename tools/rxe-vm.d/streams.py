"""What the guest sends, each stream read by a thread of its own that posts events.

An event is a name and its values: ("ready",), ("exit", STATUS, TAINT), ("failed", REASON...),
("stdout",) and ("stderr",) when that stream has arrived in full, ("closed",) when our own reader
has gone, ("unwritable", REASON) when our own output fails, ("fault",) when the kernel log shows
one, ("ended",) when QEMU has.
"""

import signal
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO

Event = tuple[str, ...]
Post = Callable[[Event], None]

CHUNK_BYTES = 1 << 16


def closed_output_status() -> int:
    """What a shell reports for a command whose reader went away (`... | head`)."""
    return 128 + signal.SIGPIPE


def read_lines(source: socket.socket, post: Post) -> None:
    """Posts each line of the control port as an event."""
    with source.makefile("r", encoding="utf-8", errors="replace") as lines:
        try:
            for line in lines:
                if line.split():
                    post(tuple(line.split()))
        except ConnectionResetError:
            pass  # QEMU was killed.


class OutputRelay(threading.Thread):
    """Copies one output stream as it comes, up to the trailer, which it takes off."""

    def __init__(
        self, name: str, source: socket.socket, target: BinaryIO, trailer: bytes, post: Post
    ) -> None:
        super().__init__(daemon=True)
        self._name = name
        self._source = source
        self._target = target
        self._trailer = trailer
        self._post = post

    def run(self) -> None:
        held = b""  # The end of what has come, where the trailer may have begun.
        while chunk := receive(self._source):
            held += chunk
            end = held.find(self._trailer)
            ready = end if end >= 0 else len(held) - self._possible_start(held)
            try:
                self._target.write(held[:ready])
                self._target.flush()
            except BrokenPipeError:
                self._post(("closed",))
                return
            except OSError as error:
                self._post(("unwritable", f"cannot write to {self._name}: {error.strerror}"))
                return
            if end >= 0:
                self._post((self._name,))
                return
            held = held[ready:]

    def _possible_start(self, data: bytes) -> int:
        """The length of the longest end of `data` with which the trailer begins."""
        longest = min(len(data), len(self._trailer) - 1)
        return next((n for n in range(longest, 0, -1) if self._trailer.startswith(data[-n:])), 0)


def receive(source: socket.socket) -> bytes:
    try:
        return source.recv(CHUNK_BYTES)
    except ConnectionResetError:
        return b""
