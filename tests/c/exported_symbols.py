#!/usr/bin/env python3
"""Checks what liblinchpin.so shows: the functions that c.h declares, all of them and nothing else.

exported_symbols.py NM LIBRARY HEADER    exits 1, with the difference, where they differ
"""
import re
import subprocess
import sys


def exported(nm, library):
    lines = subprocess.run([nm, "-D", "--defined-only", "--with-symbol-versions", library],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = [tuple(line.split()[-2:]) for line in lines]
    # A node of the version script is an absolute symbol of its own name.
    return {name for kind, name in symbols if not (kind == "A" and name.startswith("LINCHPIN_"))}


def declared(header):
    with open(header) as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"^\w[\w \*]*?\b(linchpin_\w+)\(", text, flags=re.MULTILINE))


def main(nm, library, header):
    shown = exported(nm, library)
    wanted = {f"{name}@@LINCHPIN_0" for name in declared(header)}
    for name in sorted(shown - wanted):
        print(f"{library} shows {name}, which {header} does not declare; hide it")
    for name in sorted(wanted - shown):
        print(f"{header} declares {name}, which {library} does not show; define it")
    print(f"{len(shown)} symbols shown, {len(wanted)} declared")
    return 1 if shown != wanted or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
