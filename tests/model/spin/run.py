#!/usr/bin/env python3
"""Searches one Spin model exhaustively and says whether it came out as expected.

run.py MODEL.pml holds|broken [-DNAME[=VALUE]]...

`holds`: the search is complete and finds no error. `broken`: it finds a violated assertion, so that
the model is shown to be able to fail. Anything else exits 1: a syntax error, too little memory or
depth, a search that was cut short. Exits 77, with the reason, where there is no Spin or no C
compiler. Prints the states explored and the seconds taken.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
DEPTH = 20000        # Steps; the longest run of a model here takes a few hundred.
HASH_BITS = 24       # Slots of the hash table, as a power of two.
MEMORY_MIB = 1024
SEARCH_SECONDS = 500
INCOMPLETE = ("max search depth too small", "out of memory", "reached -DMEMLIM", "truncated",
              "Search not completed", "interrupted")
FOLDER = pathlib.Path(__file__).resolve().parent


class Failed(Exception):
    """A step that went wrong; the message is for the reader of the test's output."""


def run(command, folder, seconds):
    """The output of `command`; a command that fails or hangs is a failure of the test."""
    try:
        done = subprocess.run(command, cwd=folder, timeout=seconds, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{command[0]}: not done after {seconds} s; choose smaller bounds") from late
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def search(model, expected, defines, folder):
    """What pan, the verifier that Spin makes of the model, prints."""
    for source in FOLDER.glob("*.pml"):  # A model may include another file.
        shutil.copy(source, folder)
    run(["spin", "-a", *defines, model], folder, 60)
    level = "-O2" if expected == "holds" else "-O0"  # An error is found at once.
    run(["cc", level, "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan",
         "pan.c"], folder, 120)
    return run(["./pan", f"-m{DEPTH}", f"-w{HASH_BITS}"], folder, SEARCH_SECONDS)


def judge(output, expected):
    """Why this is not the expected outcome, or None."""
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if errors is None or states is None:
        return "pan printed no result"
    if expected == "holds" and errors[1] != "0":
        return "the model is broken; it should hold"
    for sign in INCOMPLETE:
        # A search ends with its first error, and then says that it was not completed.
        if sign in output and not (expected == "broken" and sign == "Search not completed"):
            return f"the search is not complete: {sign}"
    if expected == "holds":
        return None
    if errors[1] == "0":
        return "no error was found; the model should be broken"
    return None if "assertion violated" in output else "an error, but no violated assertion"


def main(arguments):
    if len(arguments) < 2 or arguments[1] not in ("holds", "broken"):
        raise SystemExit(__doc__)
    model, expected, *defines = arguments
    for tool in ("spin", "cc"):
        if shutil.which(tool) is None:
            print(f"skipped: there is no {tool} here; tools/deps test installs it")
            return SKIPPED
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="linchpin-spin-") as folder:
            output = search(model, expected, defines, folder)
        problem = judge(output, expected)
    except Failed as failure:
        print(failure)
        return 1
    if problem is not None:
        print(output, f"{model}: {problem}", sep="\n")
        return 1
    states = re.search(r"(\d+) states, stored", output)[1]
    found = re.search(r"pan:\d+: (.*)", output)
    print(f"{model} {' '.join(defines)}: {expected}, {states} states, "
          f"{time.monotonic() - begin:.1f} s" + (f", {found[1]}" if found else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
