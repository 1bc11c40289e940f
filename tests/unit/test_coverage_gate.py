"""The gate of coverage is closed by each thing that it demands."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import coverage_gate
import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "radiomics_crlm"


def report(**changed: Any) -> dict[str, Any]:
    """A report on all modules of the package, in which everything ran."""
    summary = {"covered_lines": 10, "num_statements": 10, "covered_branches": 4, "num_branches": 4}
    files = {
        f"radiomics_crlm/{path.relative_to(PACKAGE).as_posix()}": {
            "summary": copy.copy(summary),
            "missing_branches": [],
        }
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    return {"meta": {"branch_coverage": True}, "files": files, **changed}


def test_full_coverage_passes_and_every_strict_pattern_names_a_module() -> None:
    assert coverage_gate.unmet(report()) == []


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("clinical/engine.py", "rules"),
        ("evaluation/outcome.py", "metrics"),
        ("cohort/splits.py", "splits"),
        ("scoring/sealed.py", "bundle loading"),
        ("provenance/files.py", "path handling"),
    ],
)
def test_a_missed_branch_of_a_strict_module_is_named(module: str, part: str) -> None:
    given = report()
    given["files"][f"radiomics_crlm/{module}"]["missing_branches"] = [[7, 9], [12, -3]]
    assert coverage_gate.unmet(given) == [f"{part}: {module} misses 7->9, 12->exit"]


def test_a_missed_branch_elsewhere_is_not_asked_for() -> None:
    given = report()
    given["files"]["radiomics_crlm/cli/screen.py"]["missing_branches"] = [[7, 9]]
    assert coverage_gate.unmet(given) == []


def test_too_few_lines_are_told() -> None:
    given = report()
    for one in given["files"].values():
        one["summary"] |= {"covered_lines": 899, "num_statements": 1000}
    assert coverage_gate.unmet(given) == ["89.9 % of the lines ran, expected 90 % or more"]


def test_a_strict_module_cannot_slip_away() -> None:
    given = report()
    del given["files"]["radiomics_crlm/resources.py"]
    assert coverage_gate.unmet(given) == ["path handling: no measured module is called resources.py"]


def test_a_report_without_branches_is_refused() -> None:
    assert coverage_gate.unmet(report(meta={"branch_coverage": False})) == ["the report was made without branches"]


def test_paths_of_other_machines_name_the_same_modules() -> None:
    given = report()
    given["files"] = {f"C:\\radiomics_crlm\\{name.replace('/', chr(92))}": one for name, one in given["files"].items()}
    assert coverage_gate.unmet(given) == []


def test_the_command_prints_the_table_and_answers_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, given = tmp_path / "coverage.json", report()
    path.write_text(json.dumps(given))
    assert coverage_gate.main([str(path)]) == 0
    printed = capsys.readouterr().out
    count = len(given["files"])
    assert f"| **all** | {10 * count} | {10 * count} | 100.0 | {4 * count} | {4 * count} | 0 |" in printed
    assert printed.endswith("All demands are met.\n")
    given["files"]["radiomics_crlm/clinical/facts.py"]["missing_branches"] = [[1, 2]]
    path.write_text(json.dumps(given))
    assert coverage_gate.main([str(path)]) == 1
    assert capsys.readouterr().out.endswith("NOT MET: rules: clinical/facts.py misses 1->2\n")
