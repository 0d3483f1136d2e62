"""The guest's initramfs: busybox, the two stages and the modules they need, in memory.

Made anew at each boot: it takes some 0.05 s, and nothing can be stale, half-written or left over.
"""

import os
import stat
import subprocess
from pathlib import Path

from compression import plain
from errors import SetupError
from kernels import Kernel

HERE = Path(__file__).resolve().parent

# In this order. Nothing in modules.dep says that rdma_rxe needs crc32_generic; without it
# `rdma link add` fails with "No such file or directory" on 6.1 and 6.12.
MODULES = (
    "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "dummy", "veth",
    "ib_uverbs", "rdma_ucm", "crc32_generic", "rdma_rxe",
)

# Not there, or built in, on some kernels; the guest says so itself if rxe then fails.
OPTIONAL = frozenset({"crc32_generic"})


class Archive:
    """A cpio archive of the kind the kernel unpacks (newc)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._entries = 0

    def add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        self._entries += 1
        encoded = name.encode() + b"\0"
        fields = (self._entries, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._parts += (_padded(header + encoded), _padded(data))

    def contents(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return b"".join(self._parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def build(kernel: Kernel) -> bytes:
    """Returns the archive for this kernel."""
    archive = Archive()
    for folder in ("bin", "dev"):
        archive.add(folder, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, _busybox().read_bytes())
    for stage in ("init", "inside"):
        archive.add(stage, stat.S_IFREG | 0o755, (HERE / stage).read_bytes())
    names = []
    for path in _module_files(kernel):
        names.append(path.name.removesuffix(".xz").removesuffix(".zst"))
        archive.add(names[-1], stat.S_IFREG | 0o644, plain(path.read_bytes()))
    archive.add("modules", stat.S_IFREG | 0o644, "".join(f"{n}\n" for n in names).encode())
    return archive.contents()


def _busybox() -> Path:
    path = Path("/bin/busybox")
    if not path.exists():
        raise SetupError("/bin/busybox is missing: install busybox-static")
    if b"/lib64/ld-linux" in path.read_bytes()[:4096]:
        raise SetupError("/bin/busybox is dynamically linked: install busybox-static")
    return path


def _module_files(kernel: Kernel) -> list[Path]:
    """MODULES and what they depend on, in load order, without those built into the kernel."""
    files: dict[Path, None] = {}
    for module in MODULES:
        # -C: this machine's own modprobe.d says nothing about the guest.
        command = ["modprobe", "-C", "/dev/null", "-d", kernel.root, "-S", kernel.release,
                   "--show-depends", module]
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        shown = subprocess.run(command, capture_output=True, text=True, check=False,
                               env={**os.environ, "PATH": path, "LC_ALL": "C"})
        if shown.returncode != 0 and module not in OPTIONAL:
            raise SetupError(f"kernel {kernel.release} has no module {module}")
        lines = (line.split() for line in shown.stdout.splitlines())
        files.update({Path(words[1]): None for words in lines if words[0] == "insmod"})
    return list(files)
