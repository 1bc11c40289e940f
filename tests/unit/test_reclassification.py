"""Reclassification: what it must give, and that it never comes without its caution."""

from __future__ import annotations

import numpy as np
import pytest

from radiomics_crlm.errors import InputError
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.evaluation.reclassification import CAUTION, reclassification
from radiomics_crlm.evaluation.resampling import HorizonSample, resamples


def _sample(seed: int, draws: int = 50) -> tuple[HorizonSample, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = np.clip(generator.random((100, 1)) + 0.05 * generator.normal(size=(100, 2)), 0, 1)
    event = generator.random(100) < p[:, 0]
    y = make_outcome(event, np.where(event, 6.0, 24.0))
    return resamples(y, draws=draws, seed=1).at(12.0), p


def test_turning_the_models_turns_the_sign() -> None:
    sample, p = _sample(0)
    other = np.random.default_rng(9).random(p.shape)
    there, back = (reclassification(sample, *pair, cuts=[0.3, 0.6]).measures for pair in ((other, p), (p, other)))
    for name, estimate in there.items():
        assert estimate.value == pytest.approx(-back[name].value)
        assert estimate.lower == pytest.approx(-back[name].upper)
    assert there["idi"].lower > 0


def test_the_same_risks_change_nothing() -> None:
    sample, p = _sample(1)
    for estimate in reclassification(sample, p, p, cuts=[0.5]).measures.values():
        assert (estimate.value, estimate.lower, estimate.upper) == (0, 0, 0)


def test_miscalibrated_noise_can_look_good() -> None:
    """The reason for the caution: shifting all risks towards the incidence of a subgroup gives a continuous NRI."""
    sample, _ = _sample(2)
    found = reclassification(sample, np.full((100, 1), 0.3), np.full((100, 1), 0.4)).measures
    assert found["nri_continuous_events"].value == 1.0
    assert found["nri_continuous"].value == 0.0


def test_caution_is_part_of_the_result_and_categories_are_optional() -> None:
    sample, p = _sample(3)
    found = reclassification(sample, p, p[:, ::-1])
    assert found.caution == CAUTION
    assert not [name for name in found.measures if "categorical" in name]
    assert len(reclassification(sample, p, p, cuts=[0.5]).measures) == 7


@pytest.mark.parametrize(
    ("cuts", "match"), [([0.5, 0.2], "must increase"), ([0.0, 0.5], "out of range"), ([0.5, 0.5], "must increase")]
)
def test_refuses_cuts(cuts: list[float], match: str) -> None:
    sample, p = _sample(4)
    with pytest.raises(InputError, match=match):
        reclassification(sample, p, p, cuts=cuts)


def test_refuses_shapes() -> None:
    sample, p = _sample(5)
    with pytest.raises(InputError, match="different shapes"):
        reclassification(sample, p, p[:, :1])
