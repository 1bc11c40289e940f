"""A cohort of the same kind is seldom said to be shifted, another is (simulations in ``shift_studies``)."""

from __future__ import annotations

import pytest
from scipy.stats import binom
from shift_studies import COHORTS, NAMED, SAME, SHIFTED_COHORTS, SHIFTS, alarms


def test_false_alarms_in_a_few_cohorts() -> None:
    """More than seven of 60 would be a chance of one in a hundred at 5 %."""
    assert alarms("", 60, cohorts=60).found <= 7 / 60


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_of_many_patients_is_found_and_named(shift: str) -> None:
    found = alarms(shift, 200, cohorts=4)
    assert found.found == 1.0
    assert found.named == 1.0, NAMED[shift]


@pytest.mark.slow
def test_false_alarms_in_many_cohorts() -> None:
    """At most 5 % over all sizes; of a single size no more than chance allows at 5 %."""
    found = [alarms("", size, training=training).found for training, size in SAME]
    assert max(found) * COHORTS <= binom.ppf(0.999, COHORTS, 0.05)
    assert sum(found) / len(found) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("shift", SHIFTS)
def test_shifts_are_found_nearly_always(shift: str) -> None:
    """The weakest, half a standard deviation of six inputs, needs a hundred patients; ten are told to be few."""
    for size in (100, 300):
        found = alarms(shift, size, cohorts=SHIFTED_COHORTS)
        assert found.found >= 0.9
        assert found.named >= 0.9
