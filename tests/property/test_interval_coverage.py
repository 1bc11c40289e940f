"""Do intervals hold the truth as often as they say, and are known calibration slopes found? Minutes; `make test-slow`.

The measured numbers are in docs/self_tests.md, written by benchmarks/self_tests.py.
"""

from __future__ import annotations

import pytest
from coverage_studies import calibration_distance, cross_validated, fixed_score, recovered_slope, rejections


@pytest.mark.slow
def test_bootstrap_intervals_of_a_fixed_score_cover() -> None:
    """AUC, C, Uno's C, C for competing risks, observed / expected, Brier score, difference of AUCs."""
    found = fixed_score()
    assert len(found) == 7
    assert {c.name: c.covered for c in found if not 0.92 <= c.covered <= 0.98} == {}
    assert all(abs(c.mean - c.truth) < 0.02 for c in found)


@pytest.mark.slow
def test_intervals_of_the_calibration_distance_cover() -> None:
    """At 0, the edge of its range, an interval may only cover too often."""
    perfect, wrong = calibration_distance()
    assert perfect.covered >= 0.92
    assert 0.90 <= wrong.covered <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_corrected_intervals_of_refitted_models_cover(binary: bool) -> None:
    corrected, plain = cross_validated(binary=binary)
    assert 0.92 <= corrected.covered <= 0.98
    assert abs(corrected.mean - corrected.truth) < 0.01
    # Models held fixed: the interval is narrower, and nothing is claimed of its coverage.
    assert plain.width < corrected.width


@pytest.mark.slow
def test_equally_good_scores_are_seldom_told_apart() -> None:
    permutation, bootstrap = rejections()
    assert 0.03 <= permutation <= 0.07
    assert 0.02 <= bootstrap <= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.5, 1.0, 1.5])
def test_known_slopes_are_recovered(slope: float) -> None:
    mean, _, covered = recovered_slope(slope)
    assert mean == pytest.approx(slope, abs=0.05)
    assert covered >= 0.88  # 100 studies


def test_a_few_studies_run() -> None:
    """The machinery, at a glance."""
    found = fixed_score(n=80, studies=2, samples=2)
    assert all(0 <= c.covered <= 1 and c.width > 0 for c in found)
    assert recovered_slope(1.0, n=3000, studies=3)[0] == pytest.approx(1.0, abs=0.15)
