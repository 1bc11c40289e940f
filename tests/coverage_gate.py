"""The gate of coverage: enough lines overall, and every branch of the modules on which the truth of a result hangs.

``python tests/coverage_gate.py out/coverage.json`` reads the report of ``coverage json``, prints a table per package
and ends with 1 if a demand is not met.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

PACKAGE = "radiomics_crlm"
LINES = 90.0
"""Per cent of the lines of the whole package."""
STRICT: Mapping[str, tuple[str, ...]] = {
    "rules": ("clinical/*",),
    "metrics": ("evaluation/*",),
    "splits": (
        "cohort/splits.py",
        "modelling/checks.py",
        "modelling/design.py",
        "modelling/inner_folds.py",
        "modelling/outer.py",
        "modelling/scans.py",
        "study/cross_validation.py",
        "study/fold_records.py",
    ),
    "bundle loading": (
        "modelling/frozen.py",
        "modelling/frozen_state.py",
        "scoring/bundle.py",
        "scoring/mlflow_model.py",
        "scoring/pyfunc.py",
        "scoring/reference.py",
        "scoring/sealed.py",
        "scoring/trees.py",
    ),
    "path handling": (
        "cohort/clinical.py",
        "cohort/foreign_features.py",
        "imaging/collection.py",
        "imaging/volume.py",
        "provenance/files.py",
        "provenance/tables.py",
        "provenance/unfinished.py",
        "report/checklists/filled.py",
        "resources.py",
        "scoring/outputs.py",
        "scoring/parts.py",
        "study/checkpoints.py",
        "study/resume.py",
    ),
}
"""Modules of which no branch may be missed, by what they answer for; patterns below the package."""


@dataclass(frozen=True)
class Count:
    """Lines and branches of some modules: those that ran, and all."""

    lines_run: int = 0
    lines: int = 0
    branches_run: int = 0
    branches: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.lines_run + other.lines_run,
            self.lines + other.lines,
            self.branches_run + other.branches_run,
            self.branches + other.branches,
        )

    @property
    def share(self) -> float:
        """Per cent of the lines that ran."""
        return 100 * self.lines_run / self.lines if self.lines else 100.0


def main(arguments: Sequence[str]) -> int:
    """Print the table and what is not met; 1 if anything is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="written by coverage json")
    report = json.loads(parser.parse_args(arguments).report.read_text(encoding="utf-8"))
    problems = unmet(report)
    told = [table(report), "", *(f"NOT MET: {problem}" for problem in problems)]
    sys.stdout.write("\n".join(told if problems else [*told, "All demands are met."]) + "\n")
    return 1 if problems else 0


def unmet(report: Mapping[str, Any]) -> list[str]:
    """What a report lacks, in sentences: lines overall, branches of the strict modules, or these modules themselves."""
    if not report.get("meta", {}).get("branch_coverage"):
        return ["the report was made without branches"]
    modules = _modules(report)
    found = []
    overall = sum(map(_count, modules.values()), Count())
    if overall.share < LINES:
        found.append(f"{overall.share:.1f} % of the lines ran, expected {LINES:g} % or more")
    for part, patterns in STRICT.items():
        for pattern in patterns:
            named = {name: one for name, one in modules.items() if fnmatchcase(name, pattern)}
            if not named:
                found.append(f"{part}: no measured module is called {pattern}")
            found += [f"{part}: {name} misses {_missed(one)}" for name, one in named.items() if _missed(one)]
    return found


def table(report: Mapping[str, Any]) -> str:
    """Lines and branches in Markdown: per package, per strict part, and overall."""
    modules = _modules(report)
    rows: dict[str, Count] = {}
    for name, one in sorted(modules.items()):
        package = f"`{PurePosixPath(name).parts[0]}`"
        rows[package] = rows.get(package, Count()) + _count(one)
    for part, patterns in STRICT.items():
        strict = [one for name, one in modules.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]
        rows[f"*strict:* {part}"] = sum(map(_count, strict), Count())
    rows["**all**"] = sum(map(_count, modules.values()), Count())
    head = ["| part | lines | run | % | branches | run | missed |", "|---|---:|---:|---:|---:|---:|---:|"]
    return "\n".join(
        [
            *head,
            *(
                f"| {name} | {c.lines} | {c.lines_run} | {c.share:.1f} | {c.branches} | {c.branches_run} "
                f"| {c.branches - c.branches_run} |"
                for name, c in rows.items()
            ),
        ]
    )


def _modules(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Files of the package by their path below it."""
    found = {}
    for path, one in report["files"].items():
        parts = PurePosixPath(path.replace("\\", "/")).parts
        if PACKAGE in parts:
            found["/".join(parts[len(parts) - parts[::-1].index(PACKAGE) :])] = one
    return found


def _count(one: Mapping[str, Any]) -> Count:
    told = one["summary"]
    return Count(told["covered_lines"], told["num_statements"], told["covered_branches"], told["num_branches"])


def _missed(one: Mapping[str, Any]) -> str:
    """Branches that were not taken, by line; what lies behind the end of a function is its exit."""
    return ", ".join(f"{start}->{end if end > 0 else 'exit'}" for start, end in one["missing_branches"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
