"""The QEMU process: how it is started, what it sends, and how a run of it is judged.

Every channel is a socket pair, so that nothing of a run is in the file system: the kernel log
(a serial line), control, stdout and stderr (virtio ports; the guest's end is `inside`).
"""

import ctypes
import os
import queue
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import BinaryIO

from errors import GUEST_FAILED, NOT_STARTED, TIMED_OUT
from kernel_log import KernelLog, taint_fault
from kernels import Kernel
from streams import Event, OutputRelay, closed_output_status, read_lines

QEMU = "qemu-system-x86_64"

# The bus has 32 slots, and the machine itself needs some. By default the engine cuts addresses to
# 28 bits without a word; with this mask it reaches all the memory that a guest can have.
MAX_EDU_ENGINES = 24
EDU_DEVICE = "edu,dma_mask=0xffffffffff"
# Beside them one device that has memory itself, so that engines have a peer to copy from and to.
PEER_MEMORY = "memory-backend-ram,id=peer-memory,size=1M,share=on"
PEER_DEVICE = "ivshmem-plain,memdev=peer-memory"

KERNEL_PARAMETERS = (
    "console=ttyS0", "earlyprintk=ttyS0", "loglevel=6", "rdinit=/init",
    # With -no-reboot the end of QEMU, at once: an oops fails the run without waiting for more.
    "panic=-1", "oops=panic",
    # The vcpus share one counter. Without this the kernel mistrusts it and reads the clock from
    # an emulated device: 950 ns a call, against 75.
    "tsc=reliable",
    # A vcpu may wait long for a busy host: only what lasts two minutes counts as hung.
    "watchdog_thresh=60", "rcupdate.rcu_cpu_stall_timeout=120", "workqueue.watchdog_thresh=120",
    "mitigations=off", "cryptomgr.notests", "random.trust_cpu=on",
)

# After a fault the log goes on for a moment, and what it says then is what explains it.
SECONDS_AFTER_FAULT = 3.0

# Events after which there is nothing to wait for.
ENDINGS = frozenset({"ended", "failed", "closed", "unwritable"})

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Size:
    """How large the machine is, and how long it may run."""

    memory_mib: int
    cpus: int
    edu_engines: int
    timeout_s: float


@dataclass(frozen=True)
class Verdict:
    """How a run ended. `problem` is one line, or None if the command simply ended."""

    status: int
    problem: str | None
    boot_s: float | None
    log_excerpt: list[str]


class Machine:
    """One guest, running one job. Use as a context manager: leaving it kills the guest."""

    def __init__(self, kernel: Kernel, initramfs: bytes, size: Size, append: str) -> None:
        self._kernel = kernel
        self._size = size
        self._boot_s: float | None = None
        self._events: queue.Queue[Event] = queue.Queue()
        self._trailer = b"\x1e" + secrets.token_hex(16).encode()  # Ends each output stream.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as QEMU.
        ours, theirs = zip(*(socket.socketpair() for _ in range(4)))
        self._log_socket, self._control, self._stdout, self._stderr = ours
        memory_file = os.memfd_create("initramfs", 0)
        with open(memory_file, "wb", closefd=False) as file:
            file.write(initramfs)
        fds = [end.fileno() for end in theirs]
        self._started_at = time.monotonic()
        self._qemu = subprocess.Popen(
            _command(kernel, memory_file, size, append, fds),
            stdin=subprocess.DEVNULL, stdout=self._complaints, stderr=self._complaints,
            pass_fds=(memory_file, *fds), start_new_session=True, preexec_fn=_die_with_parent,
        )
        os.close(memory_file)
        for end in theirs:
            end.close()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def run(self, job: bytes, log: KernelLog, stdout: BinaryIO, stderr: BinaryIO) -> Verdict:
        """Runs a shell script in the guest, relaying its output; returns when all has arrived."""
        post = self._events.put
        relays = [OutputRelay("stdout", self._stdout, stdout, self._trailer, post),
                  OutputRelay("stderr", self._stderr, stderr, self._trailer, post)]
        log_reader = threading.Thread(target=log.read, args=(self._log_socket, post), daemon=True)
        for thread in (
            log_reader, *relays,
            threading.Thread(target=read_lines, args=(self._control, post), daemon=True),
            threading.Thread(target=self._wait_for_end, daemon=True),
        ):
            thread.start()
        self._send_job(job)
        outcome = self._follow()
        self._kill()
        log_reader.join(timeout=5)  # Ends with QEMU: whatever it still sent is in the log now.
        return self._judge(outcome, log)

    def _send_job(self, job: bytes) -> None:
        header = b"%d %s %s\n" % (len(job), self._trailer, os.fsencode(self._kernel.modules))
        try:
            self._control.sendall(header + job)
        except BrokenPipeError:
            pass  # QEMU is gone already; that it ended is an event of its own.

    def _wait_for_end(self) -> None:
        self._qemu.wait()
        self._events.put(("ended",))

    def _kill(self) -> None:
        if self._qemu.poll() is None:
            self._qemu.kill()
        self._qemu.wait()

    def _follow(self) -> dict[str, list[str]]:
        """Takes events until nothing more can change the verdict; returns them by name."""
        seen: dict[str, list[str]] = {}
        deadline = self._started_at + self._size.timeout_s
        finished = {"exit", "stdout", "stderr"}
        while not (finished <= seen.keys() or seen.keys() & ENDINGS):
            try:
                name, *values = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                seen["timeout"] = []
                break
            if name == "ready":
                self._boot_s = time.monotonic() - self._started_at
            if name == "fault":
                deadline = min(deadline, time.monotonic() + SECONDS_AFTER_FAULT)
            seen.setdefault(name, values)
        return seen

    def _judge(self, seen: dict[str, list[str]], log: KernelLog) -> Verdict:
        def ended(status: int, problem: str | None = None) -> Verdict:
            return Verdict(status, problem, self._boot_s, log.excerpt())

        if "closed" in seen:
            return ended(closed_output_status())
        if "unwritable" in seen:
            return Verdict(NOT_STARTED, seen["unwritable"][0], self._boot_s, [])
        fault = log.fault
        if fault is None and "exit" in seen:
            fault = taint_fault(int(seen["exit"][1]))
        if fault is not None:
            return ended(GUEST_FAILED, f"the guest's kernel failed: {fault}")
        if {"exit", "stdout", "stderr"} <= seen.keys():
            return ended(int(seen["exit"][0]))
        if "failed" in seen:
            return ended(NOT_STARTED, " ".join(seen["failed"]))
        if "timeout" in seen:
            where = "in the command" if "ready" in seen else "while the guest was starting"
            return ended(TIMED_OUT, f"time-out after {self._size.timeout_s:g} s, {where}")
        if self._qemu.returncode != 0:
            return ended(NOT_STARTED, f"{QEMU} failed: {self._complaint()}")
        return ended(GUEST_FAILED, "the guest stopped before the command ended")

    def _complaint(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._qemu.returncode}"


def _die_with_parent() -> None:
    """If rxe-vm is killed in a way it cannot see (SIGKILL), its guest goes too."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _command(
    kernel: Kernel, initramfs: int, size: Size, append: str, fds: list[int]
) -> list[str]:
    log, control, stdout, stderr = fds
    command = [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
        # Five-level page tables (la57) only make each emulated walk longer.
        "-M", "q35", "-cpu", "max,la57=off", "-accel", "tcg,thread=multi",
        "-smp", str(size.cpus), "-m", f"{size.memory_mib}M",
        "-kernel", str(kernel.image), "-initrd", f"/proc/self/fd/{initramfs}",
        "-append", " ".join((*KERNEL_PARAMETERS, append)).rstrip(),
        "-virtfs", "local,path=/,mount_tag=root,security_model=none,multidevs=remap,readonly=on",
        "-chardev", f"socket,id=log,fd={log}", "-serial", "chardev:log",
        "-device", "virtio-serial-pci",
    ]
    command += ["-device", EDU_DEVICE] * size.edu_engines
    if size.edu_engines:
        command += ["-object", PEER_MEMORY, "-device", PEER_DEVICE]
    for number, (name, fd) in enumerate((("control", control), ("out", stdout), ("err", stderr))):
        command += ["-chardev", f"socket,id={name},fd={fd}",
                    "-device", f"virtserialport,chardev={name},name={name},nr={number + 1}"]
    return command
