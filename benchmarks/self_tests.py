"""The statistical self-tests of the evaluation as a table: coverage of intervals, size of tests, known slopes.

    python benchmarks/self_tests.py > docs/self_tests.md

One process; minutes. The same numbers are checked by `make test-slow` (tests/property/test_interval_coverage.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conformal_studies import section as conformal
from coverage_studies import (
    DRAWS,
    STUDIES,
    calibration_distance,
    cross_validated,
    fixed_score,
    recovered_slope,
    rejections,
)
from leak_canary import CASES, COLUMNS, PATIENTS, SEEDS, measure
from shift_studies import section as shift
from simulated_truth import section as simulated_truth

_HEAD = f"""# Self-tests of the evaluation

Written by `python benchmarks/self_tests.py > docs/self_tests.md`; `make test-slow` checks the same numbers
(`tests/property/test_interval_coverage.py`, simulations in `tests/coverage_studies.py`). All seeds are fixed.

Simulated studies: {STUDIES} per row, {DRAWS} bootstrap draws each. Nominal coverage is 95 %; 92 to 98 % is demanded.
With {STUDIES} studies the measured coverage of a perfect interval varies by about 2 percentage points (95 % range)."""
_FIXED = """
## A fixed score in a cohort of 150 patients

12 % have the competing event first, 29 % are censored (14 % before 24 months). Percentile bootstrap over patients,
censoring weights estimated anew in each draw. Truth: the mean of 400 uncensored samples of 1,000 (of 2 million patients
for observed / expected and the Brier score); for Harrell's C, which depends on the censoring, censored samples. ICI:
500 draws; its truth is known, and a perfect model's is 0, the edge of the range.

| quantity | truth | mean estimate | mean width | coverage |
|---|---|---|---|---|"""
_CROSS = """
## Models fitted in cross-validation (200 patients, 10 x 5 folds)

Truth: the mean performance of models trained on 160 patients. The bootstrap holds the models fixed, so nothing is
demanded of it here; the Nadeau-Bengio interval is meant for this question.

| quantity | truth | mean estimate | mean width | coverage |
|---|---|---|---|---|"""
_SIZE = """
## Two scores that are equally good (100 patients)

| test | share of p < 0.05 |
|---|---|"""
_SLOPE = """
## Known calibration slopes (5,000 patients, a third censored, 100 studies)

| slope | mean estimate | standard deviation | coverage of the sandwich interval |
|---|---|---|---|"""

_CANARY = f"""
## Leak canary

{PATIENTS} patients, {COLUMNS:,} columns of pure noise, {SEEDS} seeds; nested cross-validation (5 outer, 3 inner folds)
that selects ten columns (`tests/leak_canary.py`, checked by `tests/property/test_leak_canary.py`). Inside the folds,
where selection belongs, the mean must lie in 0.50 +/- 0.02. A switch of the tests moves it outside: every fit of the
steps before the learner then sees all patients. Its effect is measured with the audit blindfolded; with the audit as it
is in every study, the run must end at its first fit.

| learner | statistic | inside: mean | standard deviation | outside: mean | rise | caught by the audit |
|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print the page."""
    print(_HEAD)
    print(_FIXED)
    for coverage in [*fixed_score(), *calibration_distance()]:
        print(coverage.line())
    print(_CROSS)
    for binary in (True, False):
        for coverage in cross_validated(binary=binary):
            print(coverage.line())
    print(_SIZE)
    for name, share in zip(("permutation, Harrell's C", "bootstrap, Harrell's C"), rejections(), strict=True):
        print(f"| {name} | {100 * share:.1f} % |")
    print(_SLOPE)
    for slope in (0.5, 1.0, 1.5):
        mean, deviation, covered = recovered_slope(slope)
        print(f"| {slope:g} | {mean:.3f} | {deviation:.3f} | {100 * covered:.0f} % |")
    print(_CANARY)
    for learner, kind in CASES:
        print(measure(learner, kind).line())
    simulated_truth()
    conformal()
    shift()


if __name__ == "__main__":
    main()
