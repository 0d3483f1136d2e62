#!/usr/bin/env python3
"""Runs a benchmark once and checks its rows: their shape, and that every ratio is a number.

check_rows.py COMMAND...    the command prints {"rows": [...]}

Says nothing of how long anything took. Exits 77 when the command does.
"""
import json
import math
import subprocess
import sys

KEYS = ("name", "contender", "baseline", "ratio", "p10", "p90", "rounds", "contender_ns",
        "baseline_ns")
NUMBERS = ("ratio", "p10", "p90", "rounds", "contender_ns", "baseline_ns")
SKIPPED = 77


def is_positive(value):
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0


def problems_of(row):
    missing = [key for key in KEYS if key not in row]
    if missing:
        yield f"has no {', '.join(missing)}"
        return
    if row["ratio"] is None:
        if not row.get("note"):
            yield "was not measured, and does not say why"
        return
    for key in NUMBERS:
        if not is_positive(row[key]):
            yield f"{key} is {row[key]}, not a positive number"
            return
    if not row["p10"] <= row["ratio"] <= row["p90"]:
        yield f"ratio {row['ratio']} is outside of [{row['p10']}, {row['p90']}]"


def problems(rows):
    if not rows:
        yield "there are no rows"
    if rows and all(row.get("ratio") is None for row in rows):
        yield "nothing was measured"
    seen = set()
    for row in rows:
        label = f"{row.get('name')}, {row.get('contender')} against {row.get('baseline')}"
        if label in seen:
            yield f"{label}: stands there twice"
        seen.add(label)
        for problem in problems_of(row):
            yield f"{label}: {problem}"


def main(command):
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode == SKIPPED:
        print(run.stderr)
        return SKIPPED
    if run.returncode != 0:
        print(f"{' '.join(command)} exited with {run.returncode}:\n{run.stderr}")
        return 1
    found = list(problems(json.loads(run.stdout)["rows"]))
    for problem in found:
        print(problem)
    print(f"{len(json.loads(run.stdout)['rows'])} rows, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
