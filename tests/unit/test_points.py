"""Points tables: the probability read from them is that of the model, within the rounding they state."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import BLOCK_COLUMNS, draw_outcome, mixed_table

from radiomics_crlm.errors import ConfigError
from radiomics_crlm.explanation.points import Nomogram, _ticks, nomogram, probability_of_points, total_points
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import fit_final
from radiomics_crlm.schema import check_table

N = 140
X = mixed_table(N, 2)
Y = draw_outcome(1.2 * X["x1"].to_numpy() + 0.4 * np.log1p(X["cea"].fillna(8).to_numpy()), 2)
MONTHS = (12.0, 24.0, 36.0)
LINEAR = [
    ("ridge", "binary", None), ("ridge", "time_to_event", None), ("fine_gray", "time_to_event", 5),
    ("elastic_net", "time_to_event", 4), ("stacking", "binary", None), ("late_fusion", "time_to_event", None),
]  # fmt: skip


def _model(learner: str, kind: str, k: int | None = None) -> FrozenModel:
    recipe = Recipe("all", BLOCK_COLUMNS, learner, kind, select_k=k, penalties=(0.3, 0.1))  # type: ignore[arg-type]
    return freeze(fit_final(X, Y, recipe, endpoint="dfs", horizon=24.0, inner_folds=3, seed=1))


@pytest.fixture(scope="module", params=LINEAR, ids=lambda p: f"{p[0]} {p[1]}")
def made(request: pytest.FixtureRequest) -> tuple[FrozenModel, Nomogram]:
    model = _model(*request.param)
    return model, nomogram(model, X, endpoint="dfs", name="all/linear", months=MONTHS)


def test_tables_obey_their_schemas(made: tuple[FrozenModel, Nomogram]) -> None:
    check_table(made[1].points, "nomogram_points")
    check_table(made[1].totals, "nomogram_totals")


def test_probability_read_from_the_points_is_that_of_the_model(made: tuple[FrozenModel, Nomogram]) -> None:
    """For patients who were not trained on, with missing values, within the rounding that the table states."""
    model, table = made
    others = mixed_table(400, 77, missing=0.25)
    total = total_points(table.points, model.columns, others)
    compared = 0
    for month in table.totals["months"].unique():
        expected = model.probability(others, (month,))[:, 0]
        read = probability_of_points(table.totals, total, month)
        known = np.isfinite(read)
        stated = table.totals.loc[table.totals["months"] == month, "rounding"].iloc[0]
        assert stated < 0.02
        assert np.abs(read - expected)[known].max() <= stated
        compared += known.sum()
    assert compared > 350 * table.totals["months"].nunique()


def test_points_are_the_linear_predictor_in_another_unit(made: tuple[FrozenModel, Nomogram]) -> None:
    """Total points and risk lie on one line, up to the rounding of each column."""
    model, table = made
    total, risk = total_points(table.points, model.columns, X), model.risk(X)
    slope, intercept = np.polyfit(risk, total, 1)
    columns = table.points["column"].nunique()
    assert slope > 0
    assert np.abs(total - (slope * risk + intercept)).max() <= 0.05 * columns * 1.1


def test_strongest_column_is_a_hundred_points_long(made: tuple[FrozenModel, Nomogram]) -> None:
    length = made[1].points.groupby("column", sort=False)["points"].agg(np.ptp)
    assert length.iloc[0] == 100.0
    assert length.is_monotonic_decreasing
    assert (made[1].points.groupby("column")["points"].min() == 0).all()


def test_months_are_those_at_which_the_model_speaks(made: tuple[FrozenModel, Nomogram]) -> None:
    model, table = made
    assert tuple(table.totals["months"].unique()) == ((24.0,) if model.horizon else MONTHS)
    for _, rows in table.totals.groupby("months"):
        assert rows["probability"].is_monotonic_increasing


def test_missing_values_are_counted_as_stated() -> None:
    model = _model("ridge", "time_to_event")
    table = nomogram(model, X, endpoint="dfs", name="all/ridge", months=MONTHS)
    patient = X[X[["x0", "cea", "node", "site"]].notna().all(axis=1)].iloc[[0]]
    without = patient.assign(cea=np.nan)
    rows = table.points[table.points["column"] == "cea"]
    flag = table.points[table.points["column"] == "cea (missing)"].set_index("level")["points"]
    value = float(rows["slope"].iloc[0] * np.log1p(patient["cea"].iloc[0]) + rows["offset"].iloc[0])
    expected = rows["points_filled"].iloc[0] - round(value, 1) + flag["yes"] - flag["no"]
    found = total_points(table.points, model.columns, without) - total_points(table.points, model.columns, patient)
    assert found[0] == pytest.approx(expected, abs=1e-9)
    at_filled = patient.assign(cea=rows["filled"].iloc[0])
    moved = total_points(table.points, model.columns, without) - total_points(table.points, model.columns, at_filled)
    assert moved[0] == pytest.approx(flag["yes"] - flag["no"], abs=1e-9)


def test_scales_tell_nothing_of_single_patients(made: tuple[FrozenModel, Nomogram]) -> None:
    """Ticks are round numbers, whatever the data."""
    numbers = made[1].points[made[1].points["kind"].isin(["number", "logarithm"])]
    for _, rows in numbers.groupby("column"):
        assert 3 <= len(rows) <= 26
        steps = np.unique(np.round(np.diff(rows["value"]), 9))
        if rows["kind"].iloc[0] == "number":
            assert len(steps) == 1
            assert f"{steps[0]:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("values", "logged", "expected"),
    [
        (np.linspace(0, 10, 101), False, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (np.linspace(-0.35, 0.35, 101), False, [-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4]),
        (10 ** np.linspace(0, 2, 101), True, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
        (np.concatenate((np.zeros(50), np.linspace(0, 30, 51))), True, [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]),
        (np.full(20, 3.0), False, [2.5, 3.0, 3.5]),
    ],
)
def test_ticks_are_round(values: np.ndarray, logged: bool, expected: list[float]) -> None:
    found = _ticks(values, logged=logged).tolist()
    assert found[0] <= np.quantile(values, 0.05)
    assert found[-1] >= np.quantile(values, 0.95)
    if len(expected) > 3:
        assert found == expected


def test_refuses_trees_and_models_that_nothing_moves() -> None:
    recipe = Recipe("all", BLOCK_COLUMNS, "random_forest", "binary", trees=5)
    forest = freeze(fit_final(X, Y, recipe, endpoint="dfs", horizon=24.0, inner_folds=2, seed=1))
    with pytest.raises(ConfigError, match="only a linear model"):
        nomogram(forest, X, endpoint="dfs", name="all/random_forest", months=MONTHS)
    model = _model("ridge", "binary")
    state = model.to_state()
    state["coefficients"] = [0.0] * len(state["coefficients"])
    with pytest.raises(ConfigError, match="no input moves"):
        nomogram(FrozenModel.from_state(state), X, endpoint="dfs", name="all/ridge", months=MONTHS)


def test_the_same_tables_for_another_order_of_patients() -> None:
    model = _model("ridge", "binary")
    one = nomogram(model, X, endpoint="dfs", name="all/ridge", months=MONTHS)
    two = nomogram(model, X.iloc[::-1], endpoint="dfs", name="all/ridge", months=MONTHS)
    pd.testing.assert_frame_equal(one.points, two.points, check_exact=True)
