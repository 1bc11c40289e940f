"""docs/oracles.md is complete: every public function that estimates or judges is compared, or it is said why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oracle_comparison import DATA_SETS, Case, Compare
from oracle_inventory import NOT_COMPARED, PACKAGES, PAGE, comparisons, expected_rows, public_names

_LOCKS = sorted((Path(__file__).resolve().parents[2] / "requirements").glob("*.txt"))


def test_every_public_function_is_compared_or_excused() -> None:
    names, compared = set(public_names()), {name for case in comparisons().values() for name in case.covers}
    missing = sorted(names - compared - set(NOT_COMPARED))
    assert not missing, f"compare them in tests/oracle, or give a reason in tests/oracle_inventory.py: {missing}"
    assert not set(NOT_COMPARED) & compared
    gone = sorted((compared | set(NOT_COMPARED)) - names)
    assert not gone, f"these do not exist any more: {gone}"


def test_the_page_is_that_of_the_tests() -> None:
    text = PAGE.read_text()
    remedy = "run python benchmarks/oracle_table.py > docs/oracles.md"
    rows = [line for line in text.splitlines() if line.count(" | ") == 6][1:]
    patterns = expected_rows()
    assert len(rows) == len(patterns), remedy
    for row, pattern in zip(rows, patterns, strict=True):
        found = re.fullmatch(pattern, row)
        assert found, f"{remedy}: {row}"
        data_sets, largest = found.group(1).split(" | ")
        assert int(data_sets) >= DATA_SETS, remedy
        assert float(largest) <= float(row.rsplit("|", 2)[1]), remedy
    for name, reason in NOT_COMPARED.items():
        assert f"| `{name}` | {reason} |" in text, remedy


def test_the_page_names_the_versions_of_the_lock() -> None:
    text, locks = PAGE.read_text(), [lock.read_text() for lock in _LOCKS]
    for name in PACKAGES:
        stated = re.search(rf"{name} ([0-9][0-9.]*[0-9])", text)
        assert stated, name
        assert any(f"\n{name}=={stated.group(1)} " in f"\n{lock}" for lock in locks), name


def test_tolerances_are_those_promised() -> None:
    """Iterative fits 1e-4, all else 1e-8; the one looser is a simulated p-value and says so."""
    loose = {name: case.tolerance for name, case in comparisons().items() if case.tolerance > 1e-4}
    assert list(loose.values()) == [0.03]
    assert "six standard errors" in comparisons()[next(iter(loose))].against


def test_a_comparison_notices() -> None:
    compare = Compare(Case("x", "y", (), 1e-8), 2)
    for seed in compare:
        compare(seed, [1.0, float("nan")], [1.0, float("nan")], nan_ok=True)
    assert compare.compared == {0, 1}
    compare(2, [float("nan")], [float("nan")], nan_ok=True)
    assert compare.compared == {0, 1}, "what is unknown to both is no comparison"
    for found, expected in (([1.0], [1.0 + 2e-8]), ([float("nan")], [1.0]), ([float("nan")], [float("nan")])):
        with pytest.raises(AssertionError, match="apart"):
            compare(0, found, expected)
    with pytest.raises(AssertionError):
        compare(0, [float("nan")], [1.0], nan_ok=True)
    with pytest.raises(AssertionError, match="shapes"):
        compare(0, [1.0, 1.0], [1.0])


def test_too_few_data_sets_are_an_error() -> None:
    compare = Compare(Case("x", "y", (), 1e-8), 3)
    compare(0, 1.0, 1.0)
    with pytest.raises(AssertionError, match="1 of 3 data sets"):
        list(compare)
