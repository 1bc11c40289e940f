"""What a study finds out about the uncertainty of a delivered model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.config import load_endpoints
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.conformal import set_threshold
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.study.uncertainty import COVERAGE, uncertainty_of

N, REPEATS = 120, 2
ENDPOINT = load_endpoints()["recurrence"]


@pytest.fixture(scope="module")
def outcome() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    months = rng.exponential(25, N).round(1)
    return pd.DataFrame(
        {"patient_id": [f"P{i:03d}" for i in range(N)], "event": rng.choice([0, 1, 2], N), "months": months}
    )


@pytest.fixture(scope="module")
def predictions(outcome: pd.DataFrame) -> pd.DataFrame:
    """Shuffled, as folds leave them."""
    rng = np.random.default_rng(1)
    rows = pd.concat([outcome[["patient_id"]].assign(repeat=r) for r in range(REPEATS)], ignore_index=True)
    steps = np.cumsum(rng.uniform(0, 0.3, (len(rows), 3)), axis=1)
    rows = rows.assign(probability_12m=steps[:, 0], probability_24m=steps[:, 1], probability_36m=steps[:, 2])
    return rows.sample(frac=1, random_state=2)


@pytest.fixture(scope="module")
def levels(outcome: pd.DataFrame) -> pd.DataFrame:
    cells = ["few"] * 4 + ["a"] * 60 + ["b"] * (N - 64)
    return pd.DataFrame({"sex": cells}, index=outcome["patient_id"])


def test_thresholds_are_those_of_the_predictions(outcome, predictions) -> None:
    known, _ = uncertainty_of(predictions, outcome, pd.DataFrame(), ENDPOINT, (12, 24, 36))
    assert [one.months for one in known.sets] == [12, 24, 36]
    assert known.bound is not None
    assert known.bound.months == (12, 24, 36)
    wide = predictions.pivot(index="patient_id", columns="repeat", values="probability_24m").loc[outcome["patient_id"]]
    y = make_outcome(outcome["event"], outcome["months"])
    assert known.sets[1].threshold == set_threshold(wide.to_numpy(), y, 24).value
    assert known.bands == ()


def test_the_table_tells_groups_and_hides_small_ones(outcome, predictions, levels, tmp_path) -> None:
    known, rows = uncertainty_of(predictions, outcome, pd.DataFrame(), ENDPOINT, (12, 24, 36), levels=levels)
    full = rows.assign(endpoint="recurrence", model="clinical/ridge")[COVERAGE]
    written = write_table(full, tmp_path / "t.parquet", "conformal_coverage")
    small = written[written["level"] == "few"]
    assert len(small) == 4
    assert small[["covered", "single", "median_months"]].isna().all(axis=None)
    whole = written[(written["column"] == "all") & (written["kind"] == "outcome_set")]
    np.testing.assert_allclose(whole["covered"], [one.covered for one in known.sets], atol=1e-4)
    parts = written[written["column"] == "outcome"]
    assert set(parts["level"]) == {"event", "no_event"}
    assert (parts.groupby("horizon_months")["known"].sum().to_numpy() == whole["known"].to_numpy()).all()


def test_months_of_which_a_fold_does_not_speak_are_left_out(outcome, predictions) -> None:
    silent = predictions.assign(probability_36m=predictions["probability_36m"].where(predictions["repeat"] == 0))
    known, rows = uncertainty_of(silent, outcome, pd.DataFrame(), ENDPOINT, (12, 24, 36))
    assert [one.months for one in known.sets] == [12, 24]
    assert known.bound is not None
    assert known.bound.months == (12, 24)
    assert rows["horizon_months"].max() == 24


def test_a_model_that_speaks_of_no_month_has_no_sets(outcome, predictions) -> None:
    known, rows = uncertainty_of(predictions, outcome, pd.DataFrame(), ENDPOINT, ())
    assert known.sets == ()
    assert known.bound is None
    assert rows.empty


def test_only_the_tested_count(outcome, predictions) -> None:
    """As in a design that goes forward in time: the first block is never predicted."""
    tested = predictions[predictions["patient_id"] > "P039"]
    _, rows = uncertainty_of(tested, outcome, pd.DataFrame(), ENDPOINT, (12,))
    assert rows.loc[rows["column"] == "all", "n"].eq(N - 40).all()


def test_bands_are_of_the_months_that_were_refitted(outcome, predictions) -> None:
    prediction = np.linspace(0.1, 0.9, N)
    refits = pd.DataFrame({"horizon_months": 24.0, "prediction": prediction, "draws": 50})
    refits = refits.assign(lower=prediction * 0.8, upper=np.minimum(prediction * 1.2, 1))
    known, _ = uncertainty_of(predictions, outcome, refits, ENDPOINT, (12, 24, 36))
    assert [(band.months, band.draws, len(band.centre)) for band in known.bands] == [(24, 50, 10)]
