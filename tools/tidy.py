#!/usr/bin/env python3
"""Checks the properties of the tree that the compiler cannot see: layers, lengths, leftovers.

tidy.py            checks every source file of the tree
tidy.py FILE...    checks those (the pre-commit hook passes what is staged)

Prints one line a problem, "path:line: what; what to do", and exits 1 when there is one.
tools/tidy_test.py shows each rule a file that breaks it.
"""
import ast
import pathlib
import re
import sys

import cpp_text

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("include", "lib", "apps", "tests", "bench", "tools", "cmake", "docs", ".ci")
NOT_OURS = ("build", ".git", ".cache", "__pycache__")

# Bottom first. A layer may include itself and the layers before it, never one after it.
LAYERS = ("base", "phyr", "memory", "pin", "registrar", "explain", "monitor", "cache", "io", "c")
# What each top folder may include, beside the standard library and other projects.
INCLUDES = {"include": ("linchpin",),
            "lib": ("linchpin", "lib"),
            "apps": ("linchpin", "lib", "apps"),
            "tests": ("linchpin", "lib", "apps", "tests"),
            "bench": ("linchpin", "lib", "apps", "tests", "bench")}

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100

CPP = (".h", ".cc", ".c")
PROSE = (".md", ".json", ".1", ".in", ".pml")  # Tables and long links: any number of columns.

# Patterns that no text of ours may contain; written so that they do not match themselves.
BANNED_TEXT = {r"\bFIX[M]E\b": "resolve it",
               r"\bTOD[O]\b": "do it, or write it into the issue",
               r"\bXX[X]\b": "resolve it",
               r"(?<![\w.])/wor[k]/": "do not name a machine's own path",
               r"\bdeb\.debian\.or[g]\b": "take the host from the machine's own sources"}
# Patterns that no code of ours may contain; comments and strings may speak of them.
BANNED_CODE = {r"\bvolatile\b": "use std::atomic",
               r"\babsl::Mutex(Lock)?\b": "use lib/base/mutex.h"}
BANNED_IN_LIB = {r"\bstd::c(out|err)\b": "a library does not print",
                 r"\bprintf\s*\(": "a library does not print",
                 r"\bstd::mutex\b": "use lib/base/mutex.h",
                 r"\bstd::thread\b": "use lib/base/thread.h"}
# The places where one of these is at home.
HOMES = {"lib/base/mutex.h": r"\bstd::mutex\b"}

PUBLIC_HEADER_MAY_NOT_INCLUDE = re.compile(r'[<"](lib/|boost/|infiniband/|liburing|tests/|apps/)')
COMMENTED_OUT_CODE = re.compile(
    r"^\s*//\s*(#include\b.*|(if|for|while|switch)\s*\(.*\{|(return|delete|auto|const)\b[^.]*;"
    r"|[\w:.>\[\]-]+\s*=\s*[^.]*;|[\w:.>-]+\([^.]*\);|\}\s*)$")


def text_problems(path, lines):
    """What holds for every text file."""
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, "trailing white space; remove it"
        if "\t" in line:
            yield number, "a tab; use spaces"
        for pattern, advice in BANNED_TEXT.items():
            if found := re.search(pattern, line):
                yield number, f"{found[0]}; {advice}"
    if lines and not lines[-1].strip():
        yield len(lines), "an empty line at the end; remove it"


def source_problems(path, lines):
    """What holds for every source file, whatever its language."""
    if len(lines) > FILE_LINES_MAX:
        yield len(lines), f"{len(lines)} lines, at most {FILE_LINES_MAX}; find the second idea"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS_MAX and "://" not in line:
            yield number, f"{len(line)} columns, at most {LINE_COLUMNS_MAX}; break the line"
    if not says_what_it_is_for(path, lines):
        yield 1, "no comment says what the file is for; begin with one"


def says_what_it_is_for(path, lines):
    if path.parts[0] == "include" or path.name == "CMakeLists.txt":
        return True
    if path.suffix == ".cc" and lines and explained_by_header(path, lines[0]):
        return True
    start = 1 if lines and lines[0].startswith("#!") else 0
    return len(lines) > start and lines[start].startswith(("//", "/*", "# ", '"""'))


def explained_by_header(path, first_line):
    """A .cc file that begins with its own header: the header says what both are for."""
    own = {f"{path.parent.as_posix()}/{path.stem}.h", f"linchpin/{path.stem}.h"}
    include = re.match(r'#include "([^"]+)"', first_line)
    return include is not None and include[1] in own


def layer_problems(path, number, included):
    """What `path` may include by its place in the tree."""
    top = path.parts[0]
    folder = included.split("/")[0]
    if top == "include" and PUBLIC_HEADER_MAY_NOT_INCLUDE.match(f'"{included}'):
        yield number, f"a public header may not include {included}; forward-declare or hide it"
    elif folder in ("lib", "apps", "tests", "bench") and folder not in INCLUDES.get(top, ()):
        yield number, f"{top}/ may not include {folder}/; move the code down"
    if top != "lib" or folder != "lib" or len(path.parts) < 3:
        return
    layer, other = path.parts[1], included.split("/")[1]
    for name in (layer, other):
        if name not in LAYERS:
            yield number, f"lib/{name} is no known layer; add it to LAYERS in tools/tidy.py"
            return
    if LAYERS.index(other) > LAYERS.index(layer):
        yield number, f"layer {layer} may not include layer {other}; move the code down"


def banned_code(path):
    banned = dict(BANNED_CODE)
    if path.parts[0] == "lib":
        banned.update(BANNED_IN_LIB)
    banned.pop(HOMES.get(path.as_posix()), None)
    return banned


def cpp_problems(path, text):
    lines = text.splitlines()
    code = cpp_text.without_comments_and_strings(text)
    banned = banned_code(path)
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, advice in banned.items():
            if found := re.search(pattern, line):
                yield number, f"{found[0].strip()}; {advice}"
    for number, line in enumerate(lines, 1):
        if include := re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line):
            yield from layer_problems(path, number, include[1])
        if COMMENTED_OUT_CODE.match(line):
            yield number, "commented-out code; remove it"
    if path.suffix == ".h" and "#pragma once" not in lines:
        yield 1, "no #pragma once; add it"
    for function in cpp_text.functions(code):
        if function.lines > FUNCTION_LINES_MAX:
            yield function.start, (f"a function of {function.lines} lines, at most "
                                   f"{FUNCTION_LINES_MAX}; split it")


def python_problems(text):
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield error.lineno or 1, f"not Python: {error.msg}; mend it"
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.lineno, (f"a function of {length} lines, at most "
                                    f"{FUNCTION_LINES_MAX}; split it")


def problems(path, text):
    """Yields (line, sentence) for each rule that `text` breaks as the file `path` of the tree."""
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    elif text:
        yield len(lines), "no newline at the end; add it"
    yield from text_problems(path, lines)
    is_script = bool(lines) and lines[0].startswith("#!")
    if path.suffix in PROSE or (len(path.parts) == 1 and not is_script):
        return
    yield from source_problems(path, lines)
    if path.suffix in CPP:
        yield from cpp_problems(path, text)
    elif path.suffix == ".py" or (is_script and "python" in lines[0]):
        yield from python_problems(text)


def all_files():
    tops = [p for p in ROOT.iterdir() if p.is_file() and p.name != "LICENSE"]
    below = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")
             if p.is_file() and not set(p.relative_to(ROOT).parts) & set(NOT_OURS)]
    return sorted(tops + below)


def main(arguments):
    files = [pathlib.Path(a).resolve() for a in arguments if pathlib.Path(a).is_file()]
    files = files if arguments else all_files()
    count = 0
    checked = 0
    for file in files:
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue  # An image or the like.
        checked += 1
        path = file.relative_to(ROOT)
        for number, sentence in problems(path, text):
            print(f"{path}:{number}: {sentence}")
            count += 1
    print(f"tidy: {checked} files, {count} problems")
    return 1 if count or (not checked and not arguments) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
