#!/usr/bin/env python3
"""Sums up the parts of ./test: one table, what failed, what was skipped and why, and one line.

Reads DIRECTORY/parts ("name status seconds" a line) and the JUnit file that ctest wrote for each
part. A part that failed without a failed test (it did not build, say) counts as one failed test. A
test that ran a whole GoogleTest binary, as rxe.guest does, counts as the tests that it ran.
"""
import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

GUEST = "rxe.guest"


class Outcome(NamedTuple):
    name: str
    state: str  # passed, failed or skipped
    reason: str = ""


def skip_reason(output):
    """What GTEST_SKIP, or another test that says why, printed."""
    found = re.search(r": Skipped\n(.*)", output) or re.search(r"skipped: (.*)", output)
    return found[1].strip() if found else ""


def of_case(case):
    output = case.findtext("system-out") or ""
    skipped = case.find("skipped")
    name = case.get("name")
    if skipped is not None:
        return Outcome(name, "skipped", skip_reason(output) or skipped.get("message", ""))
    return Outcome(name, "passed" if case.get("status") == "run" else "failed")


def within(outcome, output):
    """The tests of a GoogleTest binary that one test ran, by what it printed."""
    inner = []
    for block in re.split(r"(?=\[ RUN      \] )", output)[1:]:
        ended = re.search(r"\[ +(OK|FAILED|SKIPPED) +\] (\S+) \(\d+ ms\)", block)
        began = re.match(r"\[ RUN      \] (\S+)", block)
        state = {"OK": "passed", "SKIPPED": "skipped"}.get(ended[1] if ended else "", "failed")
        reason = skip_reason(block) if state == "skipped" else ""
        inner.append(Outcome(f"{outcome.name}/{began[1]}", state, reason))
    if not inner:
        return [outcome]
    if outcome.state == "failed" and all(o.state != "failed" for o in inner):
        inner.append(outcome)  # All passed, and yet: a kernel oops, or a wrong exit status.
    return inner


def cases(file):
    try:
        return list(ElementTree.parse(file).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return []


def of_part(name, status, file):
    outcomes = []
    for case in cases(file):
        outcome = of_case(case)
        if outcome.name == GUEST and outcome.state != "skipped":
            outcomes += within(outcome, case.findtext("system-out") or "")
        else:
            outcomes.append(outcome)
    if not outcomes or (status != 0 and all(o.state != "failed" for o in outcomes)):
        outcomes.append(Outcome("(configure, build or ctest itself)", "failed"))
    return [o._replace(name=f"{name}: {o.name}") for o in outcomes]


def demand(outcomes, must_run):
    """What may not be skipped has failed when it was."""
    def judge(outcome):
        test = outcome.name.split(": ", 1)[1]
        if outcome.state == "skipped" and test in must_run:
            return outcome._replace(state="failed")
        return outcome
    return [judge(o) for o in outcomes]


def summary_line(outcomes):
    failed = sum(o.state == "failed" for o in outcomes)
    percent = 100 * (len(outcomes) - failed) // len(outcomes) if outcomes else 0
    return f"{percent}% tests passed, {failed} tests failed out of {len(outcomes)}"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--must-run", action="append", default=[], metavar="TEST")
    parser.add_argument("directory", type=pathlib.Path)
    options = parser.parse_args(arguments)
    everything = []
    for line in (options.directory / "parts").read_text().splitlines():
        name, status, seconds = line.split()
        outcomes = demand(of_part(name, int(status), options.directory / f"{name}.xml"),
                          options.must_run)
        count = {s: sum(o.state == s for o in outcomes) for s in ("passed", "failed", "skipped")}
        print(f"{name:8} {count['passed']:5} passed {count['failed']:4} failed "
              f"{count['skipped']:4} skipped {int(seconds):5} s")
        everything += outcomes
    for outcome in everything:
        if outcome.state == "failed":
            print(f"FAILED   {outcome.name} {outcome.reason}".rstrip())
    skipped = [o for o in everything if o.state == "skipped"]
    print(f"skipped {len(skipped)}: " + ("; ".join(f"{o.name} ({o.reason})" for o in skipped)
                                         if skipped else "none"))
    print(summary_line(everything))
    return 0 if everything and all(o.state != "failed" for o in everything) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
