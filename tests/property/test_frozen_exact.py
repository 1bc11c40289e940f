"""A frozen model equals its pipeline bit for bit, after a round trip through JSON, alone or in a table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_tables import MIXED_COLUMNS, SITES, draw_outcome, mixed_table

from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, pipeline_probability, pipeline_risk

KINDS = [
    (learner, kind, k) for learner in ("ridge", "xgboost") for kind in ("time_to_event", "binary") for k in (None, 4)
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda p: f"{p[0]} {p[1]} {p[2]}")
def pair(request: pytest.FixtureRequest) -> tuple:
    learner, kind, k = request.param
    X = mixed_table(80, 3)
    recipe = Recipe("all", MIXED_COLUMNS, learner, kind, select_k=k, rounds=(15, 30), depths=(2,))
    pipeline = fit_final(
        X, draw_outcome(X["x1"].to_numpy(), 3), recipe, endpoint="e", horizon=24.0, inner_folds=3, seed=0
    )
    model = freeze(pipeline)
    return pipeline, FrozenModel.from_state(json.loads(json.dumps(model.to_state())), model.booster)


def _cell(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.none(), values)


PATIENT = st.fixed_dictionaries(
    {f"x{i}": _cell(st.floats(-1e6, 1e6, allow_subnormal=False)) for i in range(6)}
    | {
        "cea": _cell(st.floats(0, 1e6)),
        "node": _cell(st.booleans()),
        "site": _cell(st.sampled_from(SITES)),
        "sex": _cell(st.sampled_from(["female", "male"])),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(PATIENT, min_size=1, max_size=8))
def test_bit_for_bit(pair: tuple, patients: list[dict]) -> None:
    pipeline, model = pair
    table = pd.DataFrame(patients)
    risk = model.risk(table)
    assert (risk == pipeline_risk(pipeline, table)).all()
    np.testing.assert_array_equal(model.probability(table), pipeline_probability(pipeline, table))
    np.testing.assert_array_equal(model.transform(table).to_numpy(), pipeline[:-1].transform(table))
    assert [model.risk(table.iloc[[row]])[0] for row in range(len(table))] == risk.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(PATIENT, min_size=1, max_size=8))
def test_always_a_number_and_a_probability(pair: tuple, patients: list[dict]) -> None:
    _, model = pair
    table = pd.DataFrame(patients)
    assert np.isfinite(model.risk(table)).all()
    p = model.probability(table, (12.0, 24.0, 36.0))[:, 1]
    assert ((p >= 0) & (p <= 1)).all()
