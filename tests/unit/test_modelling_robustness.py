"""Stable features are chosen inside the fold: what decides, whose rows count, and what a frozen model makes of it."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from simulated_tables import MIXED_COLUMNS, deal_folds, draw_outcome, mixed_table
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.agreement import icc
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import ScanSelection
from radiomics_crlm.modelling.frozen import FrozenModel, freeze
from radiomics_crlm.modelling.recipe import Recipe, preprocessing
from radiomics_crlm.modelling.robustness import Ratings, Robustness, StableFeatures, check_same_features, ratings_of
from radiomics_crlm.modelling.train import fit_final, nested_cv, pipeline_probability, pipeline_risk

CT = ScanSelection("CT", "portal_venous")
RATED = ("x0", "x1", "x2", "x3", "x4", "x5")
# Standard deviation of the perturbations, of features with standard deviation 1: ICC of about 1, 0.94, 0.86, 0.5, ...
SIZES = (0.0, 0.25, 0.4, 1.0, 2.0, 0.05)
X = mixed_table(120, 3)
Y = draw_outcome(1.2 * X["x1"].to_numpy(), 3)


def ratings(seed: int = 0, raters: int = 6) -> Ratings:
    generator = np.random.default_rng(seed)
    base = X[list(RATED)].to_numpy(dtype=float)[:, None, :]
    noise = generator.normal(size=(len(X), raters, len(RATED))) * np.array(SIZES)
    noise[:, 0] = 0
    return Ratings(X.index, ("original", *(f"p{k}" for k in range(1, raters))), RATED, base + noise)


def recipe(learner: str = "ridge", kind: str = "time_to_event", **more: object) -> Recipe:
    return Recipe(
        "all", MIXED_COLUMNS, learner, kind, robustness=Robustness(ratings()), rounds=(10, 20), depths=(1,), **more
    )


def encoded(table: pd.DataFrame = X) -> pd.DataFrame:
    return table[["x0", "x1", "x2", "x3", "x4", "x5"]].assign(age=1.0)


NAMES = (*RATED, "age")


def test_only_stable_inputs_stay() -> None:
    chosen = StableFeatures(NAMES, ratings(), 0.75).fit(encoded())
    assert chosen.selected_.tolist() == [0, 1, 2, 5, 6]
    expected = icc(ratings().values, "agreement").lower
    np.testing.assert_array_equal(chosen.lower_, expected)
    assert chosen.patients_ == 120
    assert StableFeatures(NAMES, ratings(), 0.95).fit(encoded()).selected_.tolist() == [0, 5, 6]
    out = chosen.transform(encoded())
    np.testing.assert_array_equal(out, encoded().to_numpy()[:, [0, 1, 2, 5, 6]])


def test_kept_inputs_come_first_and_survive() -> None:
    chosen = StableFeatures(NAMES, ratings(), 0.75, keep=(4, 1)).fit(encoded())
    assert chosen.selected_.tolist() == [4, 1, 0, 2, 5, 6]


def test_something_is_always_left() -> None:
    rated = StableFeatures(RATED[3:5], ratings(), 0.99).fit(encoded()[["x3", "x4"]])
    assert rated.selected_.tolist() == [0]


def test_patients_of_the_fit_alone_decide() -> None:
    """Whatever happens to the perturbed features of anybody else, selection and limits stay the same to the bit."""
    train = X.index[:80]
    rated = ratings()
    before = StableFeatures(NAMES, rated, 0.75).fit(encoded().loc[train])
    for changed in (0.0, 1e9, np.nan):
        other = copy.copy(rated.values)
        other[80:] = changed
        after = StableFeatures(NAMES, Ratings(rated.patients, rated.raters, RATED, other), 0.75).fit(
            encoded().loc[train]
        )
        assert after.selected_.tolist() == before.selected_.tolist()
        assert after.lower_.tobytes() == before.lower_.tobytes()
        assert after.patients_ == 80
    changed_train = copy.copy(rated.values)
    changed_train[:80, 1:, 0] += np.random.default_rng(1).normal(size=(80, 5)) * 3
    after = StableFeatures(NAMES, Ratings(rated.patients, rated.raters, RATED, changed_train), 0.75)
    assert 0 not in after.fit(encoded().loc[train]).selected_


def test_order_of_rows_and_outcome_do_not_matter() -> None:
    shuffled = encoded().sample(frac=1, random_state=0)
    a = StableFeatures(NAMES, ratings(), 0.75).fit(encoded(), Y)
    b = StableFeatures(NAMES, ratings(), 0.75).fit(shuffled)
    assert a.selected_.tolist() == b.selected_.tolist()


def test_conventions() -> None:
    step = StableFeatures(NAMES, ratings(), 0.8, keep=(1,))
    again = clone(step)
    assert again.get_params() == step.get_params()
    assert copy.deepcopy(step).ratings is step.ratings  # large and never changed
    with pytest.raises(NotFittedError):
        step.transform(encoded())


def test_refusals() -> None:
    with pytest.raises(InputError, match="stable features need a table with one column per input"):
        StableFeatures(NAMES, ratings()).fit(encoded().to_numpy())
    with pytest.raises(InputError, match="too few training patients have perturbed features.*at least 3.*got 2"):
        StableFeatures(NAMES, ratings()).fit(encoded().iloc[:2])
    with pytest.raises(ConfigError, match="minimum of an ICC is out of range"):
        Robustness(ratings(), 1.5)


@pytest.mark.parametrize(("learner", "kind"), [("ridge", "time_to_event"), ("xgboost", "binary")])
@pytest.mark.parametrize("select_k", [None, 3])
def test_frozen_is_the_pipeline_bit_for_bit(learner: str, kind: str, select_k: int | None) -> None:
    wanted = recipe(learner, kind, select_k=select_k)
    pipeline = fit_final(X, Y, wanted, endpoint="dfs", horizon=24.0, inner_folds=3, seed=1)
    frozen = freeze(pipeline)
    again = FrozenModel.from_state(frozen.to_state(), frozen.booster)
    later = mixed_table(60, 8, missing=0.4)
    for table in (X, later):
        assert pipeline_risk(pipeline, table).tobytes() == again.risk(table).tobytes()
        assert pipeline_probability(pipeline, table).tobytes() == again.probability(table).tobytes()
        inputs = np.ascontiguousarray(pipeline[:-1].transform(table))
        assert inputs.tobytes() == again.transform(table).to_numpy().tobytes()
    assert not {"x3", "x4", "x3 (missing)"} & set(again.input_names())
    assert "node" in again.input_names()


def test_unstable_inputs_have_no_influence() -> None:
    steps = preprocessing(recipe(), None).fit(X, Y)
    changed = X.assign(x3=X["x3"] * -7, x4=0.0)
    assert (steps.transform(X) == steps.transform(changed)).all()


def test_without_ratings_nothing_changes() -> None:
    plain = Recipe("all", MIXED_COLUMNS, "ridge", "time_to_event")
    assert [name for name, _ in preprocessing(plain, None).steps] == ["encode", "impute", "filter", "scale"]


def test_perturbed_test_patients_never_reach_their_model() -> None:
    """Nested cross-validation with the perturbations of one test fold ruined: that fold's predictions stay."""
    folds = deal_folds(X.index, folds=3, repeats=1, seed=2)
    tested = folds.loc[folds["fold"] == 0, "patient_id"]
    rated = ratings()
    ruined = rated.values.copy()
    ruined[X.index.isin(tested), 1:] = 1e6 * np.random.default_rng(0).normal(size=(len(tested), 5, 6))
    settings = {"endpoint": "e", "horizon": None, "inner_folds": 3, "seed": 1}
    results = []
    for values in (rated.values, ruined):
        own = Recipe(
            "all", MIXED_COLUMNS, "ridge", "time_to_event",
            robustness=Robustness(Ratings(rated.patients, rated.raters, RATED, values)),
        )  # fmt: skip
        results.append(nested_cv(X, Y, folds, own, **settings))
    first, second = (r.predictions.set_index(["fold", "patient_id"])["risk"] for r in results)
    assert (first.loc[0] == second.loc[0]).all()
    assert (first.loc[1] != second.loc[1]).any()
    for key, model in results[0].models.items():
        chosen = model.named_steps["stable"].selected_.tolist()
        assert 3 not in chosen
        assert 4 not in chosen
        same = results[1].models[key].named_steps["stable"].selected_.tolist() == chosen
        assert same == (key[1] == 0)


def perturbed_table() -> pd.DataFrame:
    """Two perturbations and a reader of three patients; P2 has two scans, P3 lacks one perturbation."""
    rows = []
    for name, source, shift in (
        ("original", "original", 0.0),
        ("noise", "perturbation", 0.1),
        ("grow:0.15", "perturbation", 0.2),
        ("reader:B", "reader", 0.3),
    ):
        for patient, timepoint, value in (
            ("P1", "baseline", 1.0), ("P2", "baseline", 2.0), ("P2", "preoperative", 5.0), ("P3", "baseline", 3.0)
        ):  # fmt: skip
            if (patient, name) != ("P3", "noise"):
                rows.append((patient, timepoint, "CT", "portal_venous", name, source, value + shift, 10 * value))
    columns = ["patient_id", "timepoint", "modality", "sequence", "perturbation", "source", "largest__a", "largest__b"]
    return pd.DataFrame(rows, columns=columns)


COLUMNS = (ColumnSpec("largest__a"), ColumnSpec("largest__b", log=True))


def test_ratings_are_those_of_the_scan_that_counts() -> None:
    found = ratings_of(perturbed_table(), COLUMNS, CT, speaks_at="preoperative")
    assert found.patients.tolist() == ["P1", "P2", "P3"]
    assert found.raters == ("original", "noise", "grow:0.15")
    assert found.names == ("largest__a", "largest__b")
    np.testing.assert_allclose(found.values[1, :, 0], [5.0, 5.1, 5.2])
    np.testing.assert_allclose(found.values[1, :, 1], np.log1p(50.0))
    assert np.isnan(found.values[2, 1]).all()
    assert found.of(pd.Index(["P2", "P9"])).shape == (1, 3, 2)
    early = ratings_of(perturbed_table(), COLUMNS, CT, speaks_at="baseline", raters="readers")
    assert early.raters == ("original", "reader:B")
    np.testing.assert_allclose(early.values[1, :, 0], [2.0, 2.3])


def test_tables_that_do_not_fit() -> None:
    table = perturbed_table()
    with pytest.raises(ConfigError, match="perturbed features lack 1 columns of the model.*largest__c"):
        ratings_of(table, (*COLUMNS, ColumnSpec("largest__c")), CT, speaks_at="baseline")
    with pytest.raises(InputError, match="holds no readers"):
        ratings_of(table[table["source"] != "reader"], COLUMNS, CT, speaks_at="baseline", raters="readers")
    with pytest.raises(InputError, match="holds no perturbations"):
        ratings_of(table[table["source"] != "original"], COLUMNS, CT, speaks_at="baseline")


def test_features_must_be_those_that_were_perturbed() -> None:
    rated, mine = ratings(), X[list(RATED)].iloc[::-1].iloc[:60]
    columns = tuple(ColumnSpec(name) for name in RATED)
    check_same_features(rated, mine, columns)
    changed = mine.copy()
    changed.iloc[3, 2] += 1e-3
    changed.iloc[5, 4] = np.nan
    with pytest.raises(InputError, match="2 unperturbed features differ from those of the study in 2 patients"):
        check_same_features(rated, changed, columns)
    with pytest.raises(InputError, match="too few patients of the study have perturbed features.*at least 10; got 9"):
        check_same_features(rated, mine.iloc[:9], columns)
