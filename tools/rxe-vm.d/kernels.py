"""Debian's kernels for the guest: which packages hold each, fetched once into a cache."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from compression import decompressed
from errors import SetupError
from private_apt import PrivateApt


@dataclass(frozen=True)
class Source:
    """Where a kernel comes from. Each package is a prefix that the kernel's release follows."""

    suite: str
    packages: tuple[str, ...]


# Flavours named cloud-amd64 have no rxe; rt-amd64 is not what users run. Both have another suffix.
SOURCES = {
    "6.1": Source("bookworm", ("linux-image-",)),
    "6.12": Source("trixie", ("linux-image-",)),
    "7.2": Source("trixie-backports", ("linux-binary-", "linux-modules-", "linux-base-")),
}

# Half of the unpacked size, and of no use to a machine without hardware.
UNUSED = ("sound", "drivers/gpu", "drivers/media", "drivers/net/wireless", "drivers/net/ethernet",
          "drivers/staging", "drivers/iio", "drivers/usb", "drivers/hid")


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache: `root` holds the image and usr/lib/modules/`release`."""

    release: str
    root: Path

    @property
    def image(self) -> Path:
        return self.root / "image"

    @property
    def modules(self) -> Path:
        return self.root / "usr/lib/modules" / self.release


def cache_folder() -> Path:
    own = os.environ.get("LINCHPIN_CACHE_DIR")
    if own:
        return Path(own).absolute()
    users = os.environ.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "linchpin"


def get(version: str) -> Kernel:
    """Returns the kernel of that version, fetched if it is not in the cache."""
    folder = cache_folder() / "kernels"
    root = folder / version
    if not root.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / f"{version}.lock"):
                if not root.exists():  # Another invocation may have fetched it meanwhile.
                    _fetch(version, folder, root)
        except OSError as error:
            raise SetupError(f"cannot fetch kernel {version}: {error}") from error
    return Kernel((root / "release").read_text().strip(), root)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(version: str, folder: Path, root: Path) -> None:
    """Fills `root` in one step, by a rename. Requires: the lock of this version is held."""
    for abandoned in folder.glob(f"{version}.new-*"):
        shutil.rmtree(abandoned)
    print(f"rxe-vm: fetching kernel {version} into {folder} (once)", file=sys.stderr)
    work = Path(tempfile.mkdtemp(prefix=f"{version}.new-", dir=folder))
    try:
        (work / "apt").mkdir()
        source = SOURCES[version]
        apt = PrivateApt(work / "apt", source.suite)
        apt.update()
        release = _newest_release(version, source, apt)
        kernel = Kernel(release, work / "kernel")
        packages = apt.download([prefix + release for prefix in source.packages])
        _unpack(packages, kernel)
        kernel.root.rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _newest_release(version: str, source: Source, apt: PrivateApt) -> str:
    """The newest release of this version that every package needed exists for."""
    pattern = re.compile(re.escape(version) + r"\.[0-9.]+(-[0-9]+|\+deb[0-9]+)-amd64")
    available = [
        {name.removeprefix(prefix) for name in apt.names(prefix)} for prefix in source.packages
    ]
    releases = [name for name in set.intersection(*available) if pattern.fullmatch(name)]
    if not releases:
        raise SetupError(f"Debian's {source.suite} has no kernel {version} for amd64 any more")
    return max(releases, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)])


def _unpack(packages: list[Path], kernel: Kernel) -> None:
    """Lays out packages as a `Kernel`, whether they use /lib or /usr/lib."""
    unpacked = packages[0].parent / "unpacked"
    for package in packages:
        _run("dpkg-deb", "-x", str(package), str(unpacked))
    image = _first(unpacked, f"boot/vmlinuz-{kernel.release}",
                   f"usr/lib/modules/{kernel.release}/vmlinuz")
    modules = _first(unpacked, f"lib/modules/{kernel.release}/kernel",
                     f"usr/lib/modules/{kernel.release}/kernel").parent
    for name in UNUSED:
        shutil.rmtree(modules / "kernel" / name, ignore_errors=True)
    kernel.modules.parent.mkdir(parents=True)
    (kernel.root / "lib").symlink_to("usr/lib")
    kernel.image.write_bytes(decompressed(image.read_bytes()))
    modules.rename(kernel.modules)
    _run("depmod", "-b", str(kernel.root), kernel.release)
    (kernel.root / "release").write_text(kernel.release + "\n")


def _first(folder: Path, *names: str) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise SetupError(f"the kernel's packages hold neither {' nor '.join(names)}")


def _run(*command: str) -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": path})
    if done.returncode != 0:
        raise SetupError(f"{command[0]}: {done.stderr.strip()}")
