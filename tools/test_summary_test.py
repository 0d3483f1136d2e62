#!/usr/bin/env python3
"""Shows test_summary.py parts that passed, failed, were skipped, and that never got to a test."""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import test_summary

PASSED = '<testcase name="{0}" status="run"><system-out>ok</system-out></testcase>'
FAILED = '<testcase name="{0}" status="fail"><failure/><system-out>no</system-out></testcase>'
SKIPPED = ('<testcase name="{0}" status="notrun"><skipped message="SKIP"/>'
           "<system-out>a.cc:2: Skipped\nno device here\n</system-out></testcase>")
GUEST = '<testcase name="rxe.guest" status="{0}"><system-out>{1}</system-out></testcase>'
GUEST_SKIPPED = ('<testcase name="rxe.guest" status="notrun"><skipped message="77"/>'
                 "<system-out>rxe-vm: skipped: no QEMU\n</system-out></testcase>")
INNER = "[ RUN      ] D.A\n[       OK ] D.A (1 ms)\n[ RUN      ] D.B\n"


def summary(parts, *options):
    """What is printed, as lines, and the exit status, for (name, status, testcases) in `parts`."""
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder)
        (directory / "parts").write_text("".join(f"{n} {s} 7\n" for n, s, _ in parts))
        for name, _, cases in parts:
            if cases is not None:
                (directory / f"{name}.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            status = test_summary.main([*options, folder])
        return output.getvalue().splitlines(), status


class Summary(unittest.TestCase):
    def check(self, parts, last, status, *said, options=()):
        lines, got = summary(parts, *options)
        self.assertEqual((lines[-1], got), (last, status), lines)
        for words in said:
            self.assertIn(words, "\n".join(lines))

    def test_sums_over_the_parts(self):
        self.check([("dev", 0, [PASSED.format("A"), PASSED.format("B")]),
                    ("asan", 0, [PASSED.format("A")])],
                   "100% tests passed, 0 tests failed out of 3", 0, "skipped 0: none")

    def test_names_what_failed(self):
        self.check([("dev", 8, [PASSED.format("A"), FAILED.format("B")])],
                   "50% tests passed, 1 tests failed out of 2", 1, "FAILED   dev: B")

    def test_names_what_was_skipped_and_why(self):
        self.check([("dev", 0, [PASSED.format("A"), SKIPPED.format("B")])],
                   "100% tests passed, 0 tests failed out of 2", 0,
                   "skipped 1: dev: B (no device here)")

    def test_a_part_that_did_not_build_has_failed(self):
        self.check([("dev", 1, None), ("asan", 0, [PASSED.format("A")])],
                   "50% tests passed, 1 tests failed out of 2", 1, "FAILED   dev: (configure")

    def test_a_part_whose_results_cannot_be_read_has_failed(self):
        self.check([("dev", 0, ["<testcase"])],
                   "0% tests passed, 1 tests failed out of 1", 1)

    def test_a_part_that_succeeded_without_results_has_failed(self):
        self.check([("dev", 0, None)], "0% tests passed, 1 tests failed out of 1", 1)

    def test_counts_the_tests_within_the_guest(self):
        good = GUEST.format("run", INNER + "x: Skipped\nno odp\n[  SKIPPED ] D.B (1 ms)\n")
        self.check([("rxe", 0, [good])], "100% tests passed, 0 tests failed out of 2", 0,
                   "skipped 1: rxe: rxe.guest/D.B (no odp)")
        bad = GUEST.format("fail", INNER + "[  FAILED  ] D.B (1 ms)\n")
        self.check([("rxe", 8, [bad])], "50% tests passed, 1 tests failed out of 2", 1,
                   "FAILED   rxe: rxe.guest/D.B")

    def test_a_guest_that_died_in_a_test_has_failed(self):
        self.check([("rxe", 8, [GUEST.format("fail", INNER)])],
                   "50% tests passed, 1 tests failed out of 2", 1, "FAILED   rxe: rxe.guest/D.B")

    def test_a_guest_that_died_after_its_tests_has_failed(self):
        died = GUEST.format("fail", INNER + "[       OK ] D.B (1 ms)\n")
        self.check([("rxe", 8, [died])], "66% tests passed, 1 tests failed out of 3", 1)

    def test_what_must_run_may_not_be_skipped(self):
        parts = [("rxe", 0, [GUEST_SKIPPED])]
        self.check(parts, "100% tests passed, 0 tests failed out of 1", 0, "(no QEMU)")
        self.check(parts, "0% tests passed, 1 tests failed out of 1", 1, "no QEMU",
                   options=("--must-run", "rxe.guest"))


if __name__ == "__main__":
    sys.exit(unittest.main())
