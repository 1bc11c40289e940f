"""With an effect, combined beats clinical and says so; without one, the sentence says no evidence.

The measured numbers are in docs/self_tests.md, written by benchmarks/simulated_truth.py.
"""

from __future__ import annotations

import pytest
from truth_studies import EFFECT, studies, study


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_an_effect_is_found(kind: str) -> None:
    found = studies("effect", EFFECT, kind=kind, control=True)
    assert found.combined > found.clinical + 0.05
    assert found.verdicts.get("adds", 0) >= 95
    assert found.control.get("adds", 0) <= 5
    assert (
        sum("evidence that it helps here" in s and "no evidence" not in s for s in found.sentences)
        == (found.verdicts["adds"])
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["time_to_event", "binary"])
def test_nothing_is_found_where_nothing_is(kind: str) -> None:
    found = studies("no effect", 0.0, kind=kind)
    assert found.studies == 100
    assert found.verdicts.get("no_evidence", 0) >= 95
    assert sum("no evidence that it helps here" in sentence for sentence in found.sentences) >= 95


def test_a_few_studies() -> None:
    """The machinery, at a glance."""
    with_effect = studies("effect", EFFECT, number=2, control=True)
    assert with_effect.verdicts == {"adds": 2}
    assert with_effect.difference > 0.05
    assert with_effect.control.get("adds", 0) == 0
    assert all("evidence that it helps here" in sentence for sentence in with_effect.sentences)
    without = studies("no effect", 0.0, number=2)
    assert without.verdicts == {"no_evidence": 2}
    assert abs(without.difference) < 0.05


def test_a_study_is_the_same_again() -> None:
    first, second = (study(EFFECT, 3, n=150) for _ in range(2))
    assert first.equals(second)
