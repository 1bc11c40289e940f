"""With an effect, combined beats clinical and says so; without one, the sentence says no evidence.

The measured numbers are in docs/self_tests.md, written by benchmarks/simulated_truth.py.
"""

from __future__ import annotations

import pytest
from truth_studies import EFFECT, FEWER, REPLICATES, studies, study

from radiomics_crlm.evaluation.outcome import Kind

KINDS: list[tuple[Kind, int]] = [("time_to_event", REPLICATES), ("binary", FEWER)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), KINDS)
def test_an_effect_is_found(kind: Kind, number: int) -> None:
    found = studies("effect", EFFECT, number=number, kind=kind, control=kind == "time_to_event")
    assert found.combined > found.clinical + 0.05
    assert found.verdicts.get("adds", 0) >= 0.95 * number
    # Radiomics of other patients seem to help by chance, if at all.
    assert found.control.get("adds", 0) <= 0.05 * number
    helps = [s for s in found.sentences if "evidence that it helps here" in s and "no evidence" not in s]
    assert len(helps) == found.verdicts["adds"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "number"), KINDS)
def test_nothing_is_found_where_nothing_is(kind: Kind, number: int) -> None:
    found = studies("no effect", 0.0, number=number, kind=kind)
    assert found.studies == number
    assert sum("no evidence that it helps here" in sentence for sentence in found.sentences) >= 0.95 * number
    assert found.verdicts.get("adds", 0) <= 0.025 * number
    if kind == "time_to_event":
        assert found.verdicts.get("no_evidence", 0) >= 0.95 * number
    # Columns of nothing do harm a model a little (-0.011 on average for C, -0.028 for the AUC), so that an interval
    # below 0 is no error; for the AUC it is too frequent to bound it as one.


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
