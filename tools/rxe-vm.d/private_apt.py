"""An apt of our own: its state, cache and sources in a given folder, this machine's untouched.

Only the mirror's address comes from the machine: what it fetches Debian from, we do too.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from errors import SetupError

APT = Path("/etc/apt")
KEYRINGS = Path("/usr/share/keyrings")
SUITE = re.compile(
    r"(bullseye|bookworm|trixie|forky|duke|sid|(old)*stable|testing|unstable)"
    r"(-updates|-backports)?/?"
)


@dataclass(frozen=True)
class Entry:
    """One `deb` entry of apt's sources, whichever format it was written in."""

    uris: list[str]
    suites: list[str]
    components: list[str]


def one_line_entries(text: str) -> Iterator[Entry]:
    """Entries of a .list file: `deb [options] URI SUITE COMPONENT...`."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)([^#]*)", line)
        if match:
            yield Entry([match[1]], [match[2]], match[3].split())


def deb822_entries(text: str) -> Iterator[Entry]:
    """Entries of a .sources file: stanzas of `Field: values`, continued by leading blanks."""
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", uncommented):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {
            name.strip().lower(): value.split()
            for name, colon, value in (line.partition(":") for line in unfolded.splitlines())
            if colon
        }
        if fields.get("enabled", ["yes"])[0].lower() in ("no", "false", "0"):
            continue
        if "deb" in fields.get("types", ()):
            yield Entry(*(fields.get(name, []) for name in ("uris", "suites", "components")))


def find_mirror(apt: Path = APT) -> str:
    """Returns the address this machine fetches Debian itself from."""
    readers = (
        ([apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))], one_line_entries),
        (sorted(apt.glob("sources.list.d/*.sources")), deb822_entries),
    )
    for paths, entries in readers:
        for path in paths:
            try:
                text = path.read_text(errors="replace")
            except OSError:
                continue
            for entry in entries(text):
                for uri in entry.uris:
                    if _is_debian(entry, uri):
                        return uri
    raise SetupError(f"no entry for Debian's main archive in {apt}/sources.list or sources.list.d")


def _is_debian(entry: Entry, uri: str) -> bool:
    """Says whether it is Debian's main archive, or a list of its mirrors (mirror+file:).

    Other archives have a suite named after Debian's, or a `debian` in their path, but then their
    component is not called main.
    """
    return (
        "main" in entry.components
        and re.search(r"/debian(\.list)?(/|$)", urlsplit(uri).path) is not None
        and any(SUITE.fullmatch(suite) for suite in entry.suites)
    )


def _keyring() -> Path:
    for name in ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp"):
        if (KEYRINGS / name).exists():
            return KEYRINGS / name
    raise SetupError("Debian's keyring is missing: install debian-archive-keyring")


class PrivateApt:
    """Runs apt on one suite of Debian, in `folder`; signatures are checked as always."""

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        self._configuration = folder / "apt.conf"
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        source = f"deb [arch=amd64 signed-by={_keyring()}] {find_mirror()} {suite} main\n"
        (folder / "sources.list").write_text(source)
        # The machine's own settings (a proxy, say) still hold, its hooks and preferences do not.
        self._configuration.write_text(
            f"""
            Dir::State "{folder}/state";
            Dir::State::status "{folder}/status";
            Dir::Cache "{folder}/cache";
            Dir::Etc::SourceList "{folder}/sources.list";
            Dir::Etc::SourceParts "/dev/null";
            Dir::Etc::Preferences "/dev/null";
            Dir::Etc::PreferencesParts "/dev/null";
            Acquire::Languages "none";
            Acquire::Retries "3";
            APT::Architecture "amd64";
            APT::Get::AllowUnauthenticated "false";
            APT::Sandbox::User "root";
            #clear APT::Architectures;
            #clear APT::Update::Pre-Invoke;
            #clear APT::Update::Post-Invoke;
            #clear APT::Update::Post-Invoke-Success;
            """
        )

    def update(self) -> None:
        # Without Error-Mode a source that cannot be reached is only a warning.
        self._run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")

    def names(self, prefix: str) -> list[str]:
        return self._run("apt-cache", "pkgnames", prefix).split()

    def download(self, names: list[str]) -> list[Path]:
        """Downloads packages into the folder; returns their files."""
        self._run("apt-get", "-qq", "download", *names)
        return sorted(self._folder.glob("*.deb"))

    def _run(self, program: str, *arguments: str) -> str:
        command = [program, "-c", str(self._configuration), *arguments]
        done = subprocess.run(command, cwd=self._folder, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            lines = (done.stderr.strip() or "no reason given").splitlines()
            raise SetupError(f"{program} {arguments[-1]}: {lines[0]}")
        return done.stdout
