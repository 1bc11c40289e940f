"""Stability over folds, groups of correlated inputs, and partial dependence that tells nothing of single patients."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated_tables import BLOCK_COLUMNS, deal_folds, draw_outcome, mixed_table

from radiomics_crlm.explanation import TABLES, explanation_tables
from radiomics_crlm.explanation.dependence import SMALL, partial_dependence
from radiomics_crlm.explanation.groups import SAME, group_importance, group_inputs
from radiomics_crlm.explanation.learner_inputs import standardisation
from radiomics_crlm.explanation.stability import attribution_stability
from radiomics_crlm.modelling.outer import CvResult
from radiomics_crlm.modelling.recipe import Recipe
from radiomics_crlm.modelling.train import nested_cv, pipeline_probability
from radiomics_crlm.schema import check_table
from radiomics_crlm.study.checkpoints import Checkpoints

N = 120
X = mixed_table(N, 4)
X["x5"] = 0.95 * X["x1"] + 0.1 * X["x5"]  # says what x1 says
Y = draw_outcome(1.5 * X["x1"].to_numpy(), 4)
FOLDS = deal_folds(X.index, folds=4, repeats=1, seed=0)


@pytest.fixture(scope="module", params=["ridge", "xgboost"])
def result(request: pytest.FixtureRequest) -> CvResult:
    recipe = Recipe(
        "all", BLOCK_COLUMNS, request.param, "time_to_event", rounds=(20, 40), depths=(2,), penalties=(0.3, 0.1),
        max_correlation=1.0,
    )  # fmt: skip
    return nested_cv(X, Y, FOLDS, recipe, endpoint="dfs", horizon=None, inner_folds=2, seed=1)


@pytest.fixture(scope="module")
def tables(result: CvResult) -> dict[str, pd.DataFrame]:
    return explanation_tables(result, X)


def test_all_tables_are_made_and_obey_their_schemas(tables: dict[str, pd.DataFrame]) -> None:
    assert tuple(tables) == TABLES
    for name, table in tables.items():
        check_table(table, name)


# --- stability -----------------------------------------------------------------------------------------------------


def _attributions(by_fold: dict[int, dict[str, float]], n: int = 10) -> tuple[pd.DataFrame, pd.Series]:
    """A linear model per fold: attribution = slope x input."""
    generator, rows, folds = np.random.default_rng(0), [], {}
    for fold, slopes in by_fold.items():
        for k in range(n):
            patient = f"F{fold}-{k}"
            folds[patient] = fold
            for feature, slope in slopes.items():
                value = float(generator.normal())
                rows.append(("dfs", "all/ridge", patient, feature, value, slope * value))
    columns = ["endpoint", "model", "patient_id", "feature", "input", "attribution"]
    return pd.DataFrame(rows, columns=columns), pd.Series(folds)


def test_stability_of_known_slopes() -> None:
    slopes = {0: {"a": 9.0, "b": 1.0, "c": 0.0}, 1: {"a": 8.0, "b": 1.0, "c": 0.01}, 2: {"a": 9.0, "b": -1.0, "c": 0.0}}
    found = attribution_stability(*_attributions(slopes)).set_index("feature")
    check_table(found.reset_index(), "attribution_stability")
    assert list(found.index) == ["a", "b", "c"]
    assert found["used_share"].to_dict() == pytest.approx({"a": 1.0, "b": 1.0, "c": 1 / 3})
    assert found["sign_agreement"].to_dict() == pytest.approx({"a": 1.0, "b": 2 / 3, "c": 1.0})
    assert found["direction"].to_dict() == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert found.loc["a", ["rank_median", "rank_lowest", "rank_highest"]].tolist() == [1, 1, 1]
    assert found["rank_correlation"].iloc[0] == pytest.approx(1.0)


def test_stability_is_what_its_table_of_importances_says(result: CvResult, tables: dict[str, pd.DataFrame]) -> None:
    """Means, ranks, Kendall correlations and shares by loops."""
    table, found = tables["attributions"], tables["attribution_stability"].set_index("feature")
    fold = result.folds[0]
    size = {
        k: table[table["patient_id"].map(fold) == k].groupby("feature")["attribution"].apply(lambda a: a.abs().mean())
        for k in range(4)
    }
    taus = [stats.kendalltau(size[a], size[b]).statistic for a, b in itertools.combinations(range(4), 2)]
    assert found["rank_correlation"].iloc[0] == pytest.approx(np.mean(taus))
    top = {k: set(size[k][size[k] > 0].sort_values(ascending=False).index[:10]) for k in range(4)}
    shares = [
        len(top[a] & top[b]) / min(10, max(len(top[a]), len(top[b]))) for a, b in itertools.combinations(range(4), 2)
    ]
    assert found["top_overlap"].iloc[0] == pytest.approx(np.mean(shares))
    for feature in found.index:
        assert found.loc[feature, "used_share"] == np.mean([size[k][feature] > 0 for k in range(4)])
    assert found.loc["x1", "sign_agreement"] == 1.0
    assert found.loc["x1", "direction"] == 1.0


def test_one_fold_is_compared_with_nothing() -> None:
    found = attribution_stability(*_attributions({0: {"a": 1.0, "b": 0.5}}))
    assert found[["rank_correlation", "top_overlap"]].isna().all(axis=None)


# --- groups --------------------------------------------------------------------------------------------------------


def test_members_of_a_group_correlate_and_outcomes_do_not_matter(tables: dict[str, pd.DataFrame]) -> None:
    found = tables["input_groups"]
    number = found.set_index("feature")["group"]
    assert number["x1"] == number["x5"]
    assert (number.drop(["x1", "x5"]) != number["x1"]).all()
    rho = X[["x1", "x5"]].corr(method="spearman").iloc[0, 1]
    assert abs(rho) >= SAME


def test_a_group_is_worth_the_sum_of_its_members(tables: dict[str, pd.DataFrame]) -> None:
    wide = tables["attributions"].pivot(index="patient_id", columns="feature", values="attribution")
    found = tables["input_groups"].set_index("feature")
    for _, members in found.groupby("group"):
        total = wide[list(members.index)].sum(axis=1).abs().mean()
        np.testing.assert_allclose(members["group_importance"], total)
    assert found["block"].to_dict() | {"x1": "radiomics", "cea": "clinical", "cea (missing)": "clinical"} == (
        found["block"].to_dict()
    )


def test_groups_do_not_depend_on_the_order_of_patients_or_columns() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(size=(60, 3))
    table = pd.DataFrame(
        {f"{k}{j}": base[:, k] + 0.1 * j * generator.normal(size=60) for k in range(3) for j in range(3)}
    )
    plain = group_inputs(table)
    assert plain.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    shuffled = table.sample(frac=1, random_state=1)
    assert group_inputs(shuffled).tolist() == plain.tolist()
    backwards = group_inputs(table[table.columns[::-1]])[::-1]
    for a, b in itertools.combinations(range(9), 2):
        assert (plain[a] == plain[b]) == (backwards[a] == backwards[b])


def test_inputs_that_cannot_be_compared_are_alone() -> None:
    few = pd.DataFrame({"a": [*range(9), *[None] * 20], "b": [*range(9), *range(20)], "c": [1.0] * 29}, dtype=float)
    assert group_inputs(few).tolist() == [0, 1, 2]
    assert group_inputs(few[["a"]]).tolist() == [0]


def test_group_importance_lets_opposites_cancel() -> None:
    values = np.array([[1.0, -1.0, 0.5], [2.0, -2.0, -0.5]])
    assert group_importance(values, np.array([0, 0, 1])).tolist() == [0.0, 0.5]


# --- partial dependence --------------------------------------------------------------------------------------------


def test_curve_is_the_mean_of_predictions_with_the_column_set(
    result: CvResult, tables: dict[str, pd.DataFrame]
) -> None:
    """Another way: the table of predictors is changed and goes through the whole pipeline."""
    curves = tables["dependence"]
    known = X["x1"].notna()
    curve = curves[(curves["column"] == "x1") & (curves["part"] == "curve")]
    for row in curve.iloc[::5].to_dict("records"):
        predicted = []
        for (repeat, fold), pipeline in result.models.items():
            tested = result.folds.index[(result.folds[repeat] == fold) & known]
            changed = X.loc[tested].assign(x1=row["value"])
            predicted.append(pipeline_probability(pipeline, changed, (24.0,))[:, 0])
        every = np.concatenate(predicted)
        assert row["mean"] == pytest.approx(every.mean(), abs=1e-6)
        assert (row["low"], row["high"]) == pytest.approx(np.quantile(every, [0.1, 0.9]), abs=1e-6)
        assert row["months"] == 24.0


def test_levels_are_set_as_a_whole(result: CvResult, tables: dict[str, pd.DataFrame]) -> None:
    curves = tables["dependence"]
    if "site" not in set(curves["column"]):
        pytest.skip("the category is not among the strongest columns of this model")
    curve = curves[curves["column"] == "site"].set_index("level")
    assert list(curve.index) == ["colon", "rectum", "other"]
    known, predicted = X["site"].notna(), []
    for (repeat, fold), pipeline in result.models.items():
        tested = result.folds.index[(result.folds[repeat] == fold) & known]
        predicted.append(pipeline_probability(pipeline, X.loc[tested].assign(site="other"), (24.0,))[:, 0])
    assert curve.loc["other", "mean"] == pytest.approx(np.concatenate(predicted).mean(), abs=1e-6)
    assert curve.loc["other", "n"] == (X["site"] == "other").sum()


def test_support_names_nobody(tables: dict[str, pd.DataFrame]) -> None:
    """Bins hold five patients at least, ends of the support have five beyond, values are rounded."""
    curves = tables["dependence"]
    bins = curves[curves["part"] == "bin"]
    assert (bins["n"] >= SMALL).all()
    for column, rows in bins.groupby("column"):
        values = X[column].dropna().to_numpy(dtype=float)
        assert (values < rows["value"].min()).sum() >= SMALL - 1
        assert (values > rows["until"].max()).sum() >= SMALL - 1
        for one in rows.to_dict("records"):
            inside = (values >= one["value"]) & (values < one["until"])
            assert abs(inside.sum() - one["n"]) <= 1
        curve = curves[(curves["column"] == column) & (curves["part"] == "curve")]
        within = curve["value"].between(rows["value"].min(), rows["until"].max())
        assert (curve["supported"] == within).all()
        assert not curve["supported"].iloc[[0, -1]].any()
        assert (curve["value"] == curve["value"].map(lambda v: float(f"{v:.3g}"))).all()


def test_a_hidden_level_is_not_told_by_the_total() -> None:
    table = X.assign(node=pd.array([True] * 3 + [False] * (N - 3), dtype="boolean"))
    recipe = Recipe("all", BLOCK_COLUMNS, "ridge", "time_to_event", penalties=(0.3, 0.1), max_constant=1.0)
    result = nested_cv(table, Y, FOLDS, recipe, endpoint="dfs", horizon=None, inner_folds=2, seed=1)
    strong = explanation_tables(result, table)["attributions"]
    only = strong[strong["feature"] == "node"].assign(attribution=1.0)
    found = partial_dependence(result, table, only)
    assert found["level"].tolist() == ["no", "yes"]
    assert found["n"].isna().all()
    assert found["supported"].tolist() == [1.0, 0.0]


def test_standardisation_is_that_of_the_pipeline(result: CvResult) -> None:
    pipeline = result.models[0, 0]
    given = pipeline[:-1].transform(X)
    known = X["cea"].notna().to_numpy()
    place, mean, scale = standardisation(pipeline)["cea"]
    expected = (np.log1p(X["cea"].to_numpy(dtype=float)) - mean) / scale
    np.testing.assert_allclose(given[known, place], expected[known])


# --- edges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [1e6, 0.1])
def test_blocks_of_time_and_models_that_nothing_moves(penalty: float) -> None:
    """The first block is never tested; an empty elastic net has attributions of 0 and no curve."""
    blocks = FOLDS.assign(fold=np.arange(N) * 4 // N)
    recipe = Recipe(
        "all", BLOCK_COLUMNS, "elastic_net", "time_to_event", net_penalties=(penalty,), l1_ratios=(0.9, 0.5)
    )
    result = nested_cv(X, Y, blocks, recipe, endpoint="dfs", horizon=None, inner_folds=2, seed=1, forward=True)
    found = explanation_tables(result, X)
    for name, table in found.items():
        check_table(table, name)
    assert found["attributions"]["patient_id"].nunique() == N * 3 // 4
    assert ("dependence" in found) == (penalty < 1)
    assert (found["attributions"]["attribution"] == 0).all() == (penalty > 1)
    assert found["attribution_stability"]["folds"].unique().tolist() == [3]


def test_attributions_come_back_from_a_checkpoint_as_they_are(tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.put("ab" * 32, tables)
    found = store.get("ab" * 32)
    assert found is not None
    for name, table in tables.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True)
