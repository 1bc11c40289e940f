"""Conformal sets and bounds cover new patients about as often as they say (simulations in ``conformal_studies``)."""

from __future__ import annotations

import pytest
from conformal_studies import CASES, Case, coverage

_NAMES = [f"{case.title}, {'censored' if case.censored else 'complete'}" for case in CASES]


@pytest.mark.parametrize("case", [CASES[1], CASES[4]], ids=["binary", "time to event"])
def test_mean_coverage_in_a_few_cohorts(case: Case) -> None:
    """Wider limits than those of the slow test: a mean of twelve cohorts varies."""
    for found in coverage(case, 12, first=1000):
        assert 0.86 < found.mean < 0.95, found.line()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=_NAMES)
def test_mean_coverage_in_many_cohorts(case: Case) -> None:
    for found in coverage(case):
        assert 0.87 <= found.mean <= 0.93, found.line()
