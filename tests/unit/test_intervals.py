"""Columns of uncertainty of a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scoring_examples import content, model

from radiomics_crlm.scoring.bundle import load_bundle, write_bundle
from radiomics_crlm.scoring.intervals import interval_columns, interval_names
from radiomics_crlm.scoring.reference import EventFreeBound, OutcomeSet, RefitBand, Uncertainty

BAND = RefitBand(months=24, draws=50, smallest=10, centre=(-1.0, 1.0), lower=(-0.5, -0.5), upper=(0.5, 0.5))
SETS = tuple(OutcomeSet(months=m, threshold=t, patients=90, covered=0.9) for m, t in ((12, 0.4), (24, 0.6), (36, 0.6)))
BOUND = EventFreeBound(months=(12, 24, 36), incidence=0.2, patients=90, covered=0.9)
KNOWN = Uncertainty(level=0.9, sets=SETS, bound=BOUND, bands=(BAND,))
PROBABILITY = np.array([[0.1, 0.3, 0.35], [0.5, 0.5, 0.9], [0.05, 0.1, 0.15]])


def columns(inside: Any, probability: np.ndarray = PROBABILITY, spoken: tuple[int, ...] = (12, 24, 36)) -> Any:
    found = interval_columns(inside, model(), pd.DataFrame(), np.zeros(len(probability)), probability, spoken)
    assert list(found) == interval_names(inside)
    return found


def test_sets_bands_and_bound() -> None:
    found = columns(content(uncertainty=KNOWN))
    assert found["outcome_12m"].tolist() == ["no_event", "neither", "no_event"]
    assert found["outcome_24m"].tolist() == ["no_event", "either", "no_event"]
    assert found["outcome_36m"].tolist() == ["no_event", "event", "no_event"]
    np.testing.assert_allclose(found["event_free_months"], [18.0, 4.8, 36.0])
    odds = np.log(PROBABILITY[:, 1] / (1 - PROBABILITY[:, 1]))
    np.testing.assert_allclose(found["probability_24m_lower"], 1 / (1 + np.exp(0.5 - odds)))
    np.testing.assert_allclose(found["probability_24m_upper"], 1 / (1 + np.exp(-0.5 - odds)))
    assert np.isnan(found["probability_12m_lower"]).all()
    assert np.isnan(found["probability_36m_upper"]).all()


def test_months_of_which_the_model_does_not_speak_are_empty() -> None:
    found = columns(content(uncertainty=KNOWN), PROBABILITY[:, :2], (12, 24))
    assert found["outcome_36m"].tolist() == [None, None, None]
    assert np.isnan(found["event_free_months"]).all()
    assert found["outcome_24m"][0] == "no_event"


def test_a_binary_model_has_no_time() -> None:
    inside = content(horizon=24.0, uncertainty=Uncertainty(level=0.9, sets=SETS[1:2]))
    assert interval_names(inside) == ["outcome_24m", "probability_24m_lower", "probability_24m_upper"]
    assert columns(inside, PROBABILITY[:, 1:2], (24,))["outcome_24m"].tolist() == ["no_event", "either", "no_event"]


def test_bundles_of_before_have_no_such_columns() -> None:
    assert interval_names(content()) == []
    assert columns(content()) == {}


def test_uncertainty_survives_the_bundle(tmp_path: Path) -> None:
    inside = content(uncertainty=KNOWN)
    write_bundle(tmp_path / "bundle", inside, model())
    assert load_bundle(tmp_path / "bundle").content.uncertainty == KNOWN


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (Uncertainty(level=0.9, sets=(SETS[0].model_copy(update={"months": 18}),)), "other horizons"),
        (Uncertainty(level=0.9, bound=BOUND.model_copy(update={"months": (24, 12)})), "other horizons"),
    ],
)
def test_uncertainty_of_other_horizons_is_refused(known: Uncertainty, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        content(uncertainty=known)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"centre": (1.0, -1.0)}, "must ascend"),
        ({"lower": (-0.5,)}, "different lengths"),
        ({"upper": (-0.1, 0.5)}, "greater than or equal to 0"),
        ({"smallest": 3}, "greater than or equal to 10"),
    ],
)
def test_bands_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RefitBand(**(BAND.model_dump() | change))
