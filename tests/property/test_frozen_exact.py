"""A frozen model equals its pipeline bit for bit, after a round trip through JSON, alone or in a table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_tables import BLOCK_COLUMNS, SITES, draw_outcome, mixed_table

from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final, pipeline_probability, pipeline_risk

KINDS = [
    (learner, kind, k) for learner in ("ridge", "xgboost") for kind in ("time_to_event", "binary") for k in (None, 4)
] + [
    ("elastic_net", "time_to_event", None),
    ("elastic_net", "binary", 4),
    ("fine_gray", "time_to_event", 4),
    ("xgboost_aft", "time_to_event", None),
    ("random_forest", "time_to_event", 4),
    ("random_forest", "binary", None),
    ("late_fusion", "time_to_event", 4),
    ("late_fusion", "binary", None),
    ("stacking", "time_to_event", None),
    ("stacking", "binary", 4),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda p: f"{p[0]} {p[1]} {p[2]}")
def pair(request: pytest.FixtureRequest) -> tuple:
    learner, kind, k = request.param
    X = mixed_table(80, 3)
    recipe = Recipe(
        "all", BLOCK_COLUMNS, learner, kind, select_k=k, rounds=(15, 30), depths=(2,), trees=20, penalties=(1.0, 0.1)
    )
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


@settings(max_examples=10, deadline=None)
@given(st.lists(PATIENT, min_size=1, max_size=8))
def test_bit_for_bit(pair: tuple, patients: list[dict]) -> None:
    pipeline, model = pair
    table = pd.DataFrame(patients)
    risk = model.risk(table)
    assert (risk == pipeline_risk(pipeline, table)).all()
    np.testing.assert_array_equal(model.probability(table), pipeline_probability(pipeline, table))
    np.testing.assert_array_equal(model.transform(table).to_numpy(), pipeline[:-1].transform(table))
    assert [model.risk(table.iloc[[row]])[0] for row in range(len(table))] == risk.tolist()


def test_attributions_add_up(pair: tuple) -> None:
    _, model = pair
    table = mixed_table(40, 8)
    values, base = model.contributions(table)
    np.testing.assert_allclose(values.sum(axis=1) + base, model.risk(table), atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.lists(PATIENT, min_size=1, max_size=8))
def test_always_a_number_and_a_probability(pair: tuple, patients: list[dict]) -> None:
    _, model = pair
    table = pd.DataFrame(patients)
    assert np.isfinite(model.risk(table)).all()
    p = model.probability(table, (12.0, 24.0, 36.0))
    assert ((p[:, 1] >= 0) & (p[:, 1] <= 1)).all()
    if model.horizon is None:
        assert (np.diff(p, axis=1) >= 0).all()
    assert model.speaks_at(24.0)
