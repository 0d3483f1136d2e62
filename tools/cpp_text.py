"""Reads C++ source text just well enough to measure functions: no types, no macros."""
import re
from typing import NamedTuple

_SKIPPED = re.compile(
    r'//[^\n]*'                                        # a comment
    r'|/\*.*?\*/'                                      # a comment
    r'|(?:u8|[uUL])?R"(?P<end>[^()\\\s]{0,16})\(.*?\)(?P=end)"'  # a raw string
    r'|"(?:[^"\\\n]|\\.)*"'                            # a string
    r"|(?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)+'",           # a character, not the mark in 1'000
    re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\\n|\\.)*", re.MULTILINE)
_TYPE = re.compile(
    r"\b(class|struct|union)\b"
    r"(\s*(alignas|__attribute__|[A-Z][A-Z0-9_]+)\s*\([^()]*(\([^()]*\))?\))*")
_ACCESS = re.compile(r"\b(public|private|protected)\s*:(?!:)")


class Function(NamedTuple):
    start: int  # The line on which its head begins, from 1.
    lines: int


def _blank(match):
    """White space of the same shape, so that every character keeps its line."""
    text = re.sub(r"[^\n]", " ", match[0])
    if match[0][0] in "\"'" or match[0][-1] == '"':
        return '"' + text[1:-1] + '"' if len(text) > 1 else text
    return text


def without_comments_and_strings(text):
    return _SKIPPED.sub(_blank, text)


def _opens(head):
    """What a brace after `head` opens, at namespace or class level."""
    bare = _TYPE.sub(r"\1", head)
    if "(" in bare:
        before = re.sub(r"operator\s*[^\s(\w]+", "", bare.split("(")[0])
        is_value = re.search(r"(?<![=!<>])=(?!=)", before) and "[" not in before
        return "value" if is_value else "function"
    if re.search(r"\b(class|struct|union|namespace|extern)\b", bare) and "=" not in bare:
        return "scope"
    return "value"


class _Reader:
    """Walks over the braces. `open` holds what each open brace opened, outermost first."""

    def __init__(self):
        self.open = []
        self.head = ""
        self.head_line = None
        self.body_depth = None  # The depth of `open` at which the current function's brace lies.
        self.found = []

    def in_scope(self):
        return all(kind == "scope" for kind in self.open)

    def new_head(self):
        self.head, self.head_line = "", None

    def brace(self):
        if not self.in_scope():
            self.open.append("inner")
            return
        kind = _opens(self.head)
        self.open.append(kind)
        if kind == "scope":
            self.new_head()
        elif kind == "function":
            self.body_depth = len(self.open)

    def unbrace(self, line, next_character):
        if not self.open:
            return
        closes_function = self.body_depth == len(self.open)
        kind = self.open.pop()
        if closes_function:
            self.body_depth = None
            if next_character in (",", "{"):  # `: member_{value}, ...` of a constructor.
                return
            self.found.append(Function(self.head_line, line - self.head_line + 1))
        if kind != "inner":
            self.new_head()

    def other(self, character, line):
        if not self.in_scope():
            return
        if character == ";":
            self.new_head()
            return
        if self.head_line is None and not character.isspace():
            self.head_line = line
        self.head += character
        if character == ":" and _ACCESS.search(self.head):
            self.new_head()


def functions(code):
    """The functions that `code` defines. `code` is free of comments and strings."""
    code = _DIRECTIVE.sub(_blank, code)
    reader = _Reader()
    line = 1
    for position, character in enumerate(code):
        if character == "{":
            reader.brace()
        elif character == "}":
            following = re.compile(r"\s*(\S?)").match(code, position + 1)
            reader.unbrace(line, following[1])
        else:
            reader.other(character, line)
        line += character == "\n"
    return reader.found
