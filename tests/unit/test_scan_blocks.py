"""Patients who lack a scan, inside the fold: one indicator, plain numbers that agree, and refusals with numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table
from sklearn.impute import SimpleImputer

from radiomics_crlm.errors import InputError
from radiomics_crlm.modelling.checks import check_design
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.recipe import Recipe, preprocessing
from radiomics_crlm.modelling.train import fit_final, nested_cv, pipeline_probability, pipeline_risk
from radiomics_crlm.modelling.transformers import SharedIndicatorImputer

WIDTH = 20


def two_scans(n: int, *, lacking: float = 0.4, seed: int = 3) -> tuple[pd.DataFrame, tuple[ColumnSpec, ...]]:
    """Patients with twenty features of CT and of MR, which some lack, and one clinical column with gaps."""
    table = noise_table(n, 2 * WIDTH + 1, seed)
    names = ["age", *(f"CT:{i}" for i in range(WIDTH)), *(f"MR:{i}" for i in range(WIDTH))]
    table.columns = pd.Index(names)
    generator = np.random.default_rng([seed, 1])
    table.loc[generator.random(n) < lacking, names[WIDTH + 1 :]] = np.nan
    table.loc[generator.random(n) < 0.2, "age"] = np.nan
    columns = tuple(
        ColumnSpec(
            name,
            keep=name == "age",
            block="clinical" if name == "age" else "radiomics",
            scan=name[:2] * (name != "age"),
        )
        for name in names
    )
    return table, columns


def test_a_scan_that_is_missing_is_one_fact() -> None:
    table, columns = two_scans(80)
    steps = preprocessing(Recipe("both", columns, "ridge", "time_to_event"), None)
    steps.fit(table, draw_outcome(np.zeros(80), 1))
    impute = steps.named_steps["impute"]
    assert impute.indicator_.features_.tolist() == [0, 1 + WIDTH]
    filled = impute.transform(table.to_numpy())
    assert filled.shape == (80, 2 * WIDTH + 1 + 2)
    np.testing.assert_array_equal(filled[:, -1] == 1, table["MR:0"].isna())
    np.testing.assert_array_equal(filled[:, -2] == 1, table["age"].isna())
    # What is filled in is what the plain imputer fills in, and it has twenty equal indicators more.
    plain = SimpleImputer(strategy="median", add_indicator=True).fit_transform(table.to_numpy())
    np.testing.assert_array_equal(filled[:, : 2 * WIDTH + 1], plain[:, : 2 * WIDTH + 1])
    assert plain.shape[1] == 2 * WIDTH + 1 + 1 + WIDTH


def test_other_gaps_keep_an_indicator_of_their_own() -> None:
    X = np.array([[1.0, 1, 1, 1], [2, np.nan, np.nan, 2], [3, 3, np.nan, np.nan], [np.nan, 4, 4, 4]])
    found = SharedIndicatorImputer(add_indicator=True).fit(np.hstack((X, X[:, 1:3])))
    assert found.indicator_.features_.tolist() == [0, 1, 2, 3]
    none = SharedIndicatorImputer(add_indicator=True).fit(np.ones((3, 2)))
    assert none.transform(np.ones((1, 2))).shape == (1, 2)


def test_plans_of_one_scan_keep_their_steps() -> None:
    _, columns = two_scans(5)
    alone = tuple(ColumnSpec(c.name, keep=c.keep, block=c.block) for c in columns[: WIDTH + 1])
    steps = preprocessing(Recipe("ct", alone, "ridge", "time_to_event"), None)
    assert type(steps.named_steps["impute"]) is SimpleImputer


@pytest.mark.parametrize("learner", ["ridge", "xgboost", "late_fusion", "random_forest"])
def test_plain_numbers_of_two_scans_agree(learner: str) -> None:
    table, columns = two_scans(90)
    signal = table["MR:0"].fillna(0).to_numpy() + table["CT:0"].to_numpy()
    recipe = Recipe(
        "both", columns, learner, "time_to_event", select_k=8, trees=10, penalties=(0.3, 0.1), rounds=(10,),
        depths=(1, 2),
    )  # type: ignore[arg-type] # fmt: skip
    made = fit_final(table, draw_outcome(signal, 2), recipe, endpoint="e", horizon=None, inner_folds=3, seed=0)
    frozen = freeze(made)
    np.testing.assert_array_equal(frozen.risk(table), pipeline_risk(made, table))
    np.testing.assert_array_equal(frozen.probability(table), pipeline_probability(made, table))
    assert sum(name.endswith("(missing)") for name in frozen.input_names()) <= 2


def test_order_of_rows_changes_no_prediction() -> None:
    table, columns = two_scans(60)
    outcome = draw_outcome(table["CT:0"].to_numpy(), 4)
    folds = deal_folds(table.index, folds=3, repeats=1, seed=0)
    recipe = Recipe("both", columns, "ridge", "time_to_event", select_k=5)
    settings = {"endpoint": "e", "horizon": None, "inner_folds": 3, "seed": 1}
    known = pd.DataFrame(outcome, index=table.index)
    first = nested_cv(table, known, folds, recipe, **settings)
    shuffled = folds.sample(frac=1, random_state=2)
    again = nested_cv(table, known, shuffled, recipe, **settings)
    pd.testing.assert_frame_equal(first.predictions, again.predictions)


def test_training_folds_without_a_scan_are_refused_with_numbers() -> None:
    table, columns = two_scans(30, lacking=0.0)
    folds = pd.DataFrame({"patient_id": table.index, "repeat": 0, "fold": np.arange(30) % 3})
    table.iloc[np.flatnonzero(np.arange(30) % 3 != 1), 1 + WIDTH :] = np.nan
    recipe = Recipe("both", columns, "ridge", "time_to_event")
    outcome = draw_outcome(np.zeros(30), 5, competing=False)
    known = pd.DataFrame(outcome, index=table.index)
    message = (
        r"e, both/ridge, repeat 0, fold 1: nobody in the training fold has MR; "
        r"expected at least 1 of 20 training patients; got 0; 10 of all 30 patients. Take these scans out"
    )
    with pytest.raises(InputError, match=message):
        check_design(table, known, folds, recipe, endpoint="e", horizon=None, min_events=2)
    with pytest.raises(InputError, match=message):
        nested_cv(table, known, folds, recipe, endpoint="e", horizon=None, inner_folds=3, seed=0, min_events=2)
    # Forward in time the earlier patients alone are fitted.
    with pytest.raises(InputError, match="fold 1: nobody in the training fold has MR"):
        check_design(table, known, folds, recipe, endpoint="e", horizon=None, min_events=2, forward=True)
