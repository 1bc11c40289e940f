"""Lesions as rows: taken from their table, through the pipeline, and back to patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_tables import deal_folds, draw_outcome, noise_table
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from radiomics_crlm.config import ExperimentConfig, FeatureSetConfig, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.evaluation.discrimination import concordance, endpoint_pairs
from radiomics_crlm.evaluation.outcome import make_outcome
from radiomics_crlm.modelling.columns import ColumnSpec
from radiomics_crlm.modelling.design import build_predictors
from radiomics_crlm.modelling.frozen import freeze
from radiomics_crlm.modelling.lesions import PerLesion, lesion_column, pack, stack_lesions, unpack
from radiomics_crlm.modelling.recipe import Recipe, preprocessing
from radiomics_crlm.modelling.train import fit_final, nested_cv, pipeline_risk
from radiomics_crlm.study.plans import check_learners

SHAPE, GREY = "lesion__original_shape_Sphericity", "lesion__original_firstorder_Mean"


def lesion_table() -> pd.DataFrame:
    """Two lesions of a, one of b, of c only a failed one; and another modality of a."""
    rows = [
        ("a", "CT", "portal_venous", 2, "ok", 0.2, 20.0),
        ("a", "CT", "portal_venous", 1, "ok", 0.1, 10.0),
        ("a", "CT", "portal_venous", 3, "failed", np.nan, np.nan),
        ("b", "CT", "portal_venous", 5, "ok", 0.5, np.nan),
        ("c", "CT", "portal_venous", 1, "failed", np.nan, np.nan),
        ("a", "MR", "hbp", 1, "ok", 0.9, 90.0),
    ]
    table = pd.DataFrame(rows, columns=["patient_id", "modality", "sequence", "lesion", "status", SHAPE, GREY])
    return table.assign(timepoint="baseline", profile="p", settings_hash="h", engine="e").astype({"patient_id": "str"})


def feature_set(**more: Any) -> FeatureSetConfig:
    content = {
        "title": "lesions", "level": "lesion", "aggregate": "max", "radiomics": {"columns": ["lesion__*"]}, **more
    }  # fmt: skip
    return parse_config(FeatureSetConfig, content, where="test")


def test_lesions_become_columns_whatever_the_order_of_rows() -> None:
    wide = stack_lesions(lesion_table(), ["lesion__*"], [])
    assert wide.columns.tolist()[4:] == [lesion_column(k, name) for k in (1, 2) for name in (GREY, SHAPE)]
    of_a = wide[(wide["patient_id"] == "a") & (wide["modality"] == "CT")].iloc[0]
    assert (of_a[lesion_column(1, SHAPE)], of_a[lesion_column(2, SHAPE)]) == (0.1, 0.2)
    assert wide.loc[wide["patient_id"] == "c"].filter(like="lesion__").isna().all(axis=None)
    again = stack_lesions(lesion_table().sample(frac=1, random_state=4), ["lesion__*"], [])
    keys = ["patient_id", "modality"]
    pd.testing.assert_frame_equal(again.sort_values(keys, ignore_index=True), wide.sort_values(keys, ignore_index=True))
    assert stack_lesions(lesion_table(), ["lesion__*"], ["*Mean"]).columns.tolist()[4:] == [
        lesion_column(1, SHAPE), lesion_column(2, SHAPE),
    ]  # fmt: skip


def test_predictors_of_lesions_have_one_row_per_patient() -> None:
    clinical = pd.DataFrame({"patient_id": ["c", "a", "b"], "cea_ng_ml": [1.0, 2.0, 3.0]}).astype({"patient_id": "str"})
    request: dict[str, Any] = {"clinical": clinical, "features_patient": None, "available_at": {}}
    found = build_predictors(
        feature_set(columns=["cea_ng_ml"]), **request, features_lesion=lesion_table(), speaks_at="baseline"
    )
    assert found.table.index.tolist() == ["c", "a", "b"]
    assert found.aggregate == "max"
    assert {spec.source for spec in found.inputs[1:]} == {"radiomics"}
    assert found.table.loc["a", lesion_column(2, SHAPE)] == 0.2
    assert found.table.loc["b", lesion_column(1, SHAPE)] == 0.5
    assert found.table.loc["c"].filter(like="lesion").isna().all()
    with pytest.raises(InputError, match="the cohort has no features"):
        build_predictors(feature_set(), **request, speaks_at="baseline")
    nothing = feature_set(radiomics={"columns": ["lesion__wavelet*"]})
    with pytest.raises(ConfigError, match="no radiomics column matches"):
        build_predictors(nothing, **request, features_lesion=lesion_table(), speaks_at="baseline")


@pytest.mark.parametrize("seed", range(5))
def test_packed_rows_come_back(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = generator.integers(1, 5, 12)
    owner, rows = np.repeat(np.arange(12), count), generator.normal(size=(count.sum(), 3))
    found, found_owner = unpack(pack(rows, owner, 12, 6), 6)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(found_owner, owner)


@pytest.mark.parametrize("count", [0.0, 3.0, 1.5])
def test_what_was_not_packed_is_refused(count: float) -> None:
    with pytest.raises(InputError, match="inputs and lesions do not fit together"):
        unpack(np.array([[count, 1.0, 2.0]]), 2)
    with pytest.raises(InputError, match="2 lesions at most"):
        unpack(np.array([[1.0, 1.0, 2.0, 3.0]]), 2)


def test_steps_are_fitted_on_lesions() -> None:
    nan = np.nan
    X = np.array([[1.0, 10, 100, 30, nan], [2.0, 20, 200, nan, nan], [3.0, nan, nan, nan, nan]])
    step = PerLesion(Pipeline([("scale", StandardScaler())]), (0,), ((1, 2), (3, -1)))
    step.fit(X[:2], make_outcome([1, 0], [1.0, 2.0]))
    # Lesions (10, 100) and (30, missing) of the first patient, (20, 200) of the second.
    np.testing.assert_allclose(step.steps_.named_steps["scale"].mean_, [4 / 3, 20.0, 150.0])
    packed = step.transform(X)
    assert packed.shape == (3, 1 + 2 * 3)
    assert packed[:, 0].tolist() == [2, 1, 1]
    assert (packed[1, 4:] == 0).all()


def lesions(n: int, *, features: int = 6, slots: int = 4, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictors of n patients with one to ``slots`` lesions (the last has none), and the lesions themselves."""
    generator = np.random.default_rng(seed)
    count = generator.integers(1, slots + 1, n)
    count[-1] = 0
    owner = np.repeat(np.arange(n), count)
    names = [f"lesion__original_x_{i}" for i in range(features)]
    rows = pd.DataFrame(generator.normal(size=(owner.size, features)), columns=names).assign(owner=owner)
    number = rows.groupby("owner").cumcount() + 1
    patients = noise_table(n, 1, seed).rename(columns={"x0": "age"})
    parts = [patients]
    for slot in range(1, slots + 1):
        here = rows[number == slot].set_index("owner")[names].reindex(range(n)).set_axis(patients.index)
        parts.append(here.set_axis([lesion_column(slot, name) for name in names], axis=1))
    return pd.concat(parts, axis=1), rows


def columns_of(table: pd.DataFrame) -> tuple[ColumnSpec, ...]:
    return tuple(
        ColumnSpec(name, keep=name == "age", block="clinical" if name == "age" else "radiomics") for name in table
    )


def recipe(table: pd.DataFrame, **more: Any) -> Recipe:
    settings: dict[str, Any] = {
        "aggregate": "max", "select_k": 3, "penalties": (0.3, 0.03), "rounds": (20,), "depths": (1, 2), **more
    }  # fmt: skip
    learner, kind = settings.pop("learner", "ridge"), settings.pop("kind", "time_to_event")
    return Recipe("lesions", columns_of(table), learner, kind, **settings)


def test_the_pipeline_keeps_the_clinical_input_and_counts_features_once() -> None:
    table, _ = lesions(60)
    made = recipe(table)
    assert made.n_inputs == 7
    steps = preprocessing(made, None).fit(table, draw_outcome(np.zeros(60), 1))
    inner = steps.named_steps["lesions"].steps_
    assert inner.named_steps["filter"].selected_[0] == 0
    assert inner.named_steps["select"].selected_[0] == 0
    assert inner.named_steps["impute"].indicator_.features_.tolist() == [1]  # the patient without a lesion
    assert steps.transform(table).shape == (60, 1 + 4 * (1 + 3))


@pytest.mark.parametrize("learner", ["ridge", "xgboost"])
@pytest.mark.parametrize(("kind", "horizon"), [("time_to_event", None), ("binary", 24.0)])
def test_the_worst_lesion_is_found_out_of_fold(learner: str, kind: str, horizon: float | None) -> None:
    table, rows = lesions(300, seed=4)
    worst = rows.groupby("owner")["lesion__original_x_0"].max().reindex(range(300)).fillna(0).to_numpy()
    outcome = draw_outcome(1.5 * (worst - worst.mean()), 3)
    known = pd.DataFrame(outcome, index=table.index)
    folds = deal_folds(table.index, folds=3, repeats=1, seed=1)
    pairs = endpoint_pairs(outcome, kind, horizon)  # type: ignore[arg-type]
    found = {}
    for aggregate in ("mean", "max"):
        made = recipe(table, learner=learner, kind=kind, aggregate=aggregate)
        result = nested_cv(table, known, folds, made, endpoint="e", horizon=horizon, inner_folds=3, seed=0)
        predictions = result.predictions.set_index("patient_id").loc[table.index]
        assert len(result.predictions) == 300
        assert result.fits == 3 * (3 + 1)  # every fit passed the audit, which knows patients only
        found[aggregate] = concordance(pairs, predictions["risk"].to_numpy())
    assert found["max"] > max(0.75, found["mean"] + 0.02)
    month = predictions["probability_24m"].to_numpy()
    assert ((month > 0) & (month < 1)).all()
    # Calibrated in the large, although the maximum of several lesions is higher than any typical one.
    assert abs(month.mean() - ((outcome["event"] == 1) & (outcome["months"] <= 24)).mean()) < 0.15


def test_numbers_of_lesions_do_not_matter() -> None:
    """The same lesions under other numbers, in another order of rows."""
    table, _ = lesions(80, seed=5)
    outcome = draw_outcome(table["age"].to_numpy(), 2)
    known = pd.DataFrame(outcome, index=table.index)
    request: dict[str, Any] = {"endpoint": "e", "horizon": None, "inner_folds": 3, "seed": 0}
    risk = pipeline_risk(fit_final(table, known, recipe(table), **request), table)
    swapped = table.rename(columns=lambda name: name.replace("lesion1:", "lesion9:").replace("lesion4:", "lesion1:"))
    swapped = swapped.rename(columns=lambda name: name.replace("lesion9:", "lesion4:"))[table.columns]
    again = pipeline_risk(fit_final(swapped, known, recipe(table), **request), swapped)
    np.testing.assert_allclose(again, risk, atol=1e-7)


def test_of_one_lesion_each_it_is_the_model_of_patients() -> None:
    table, _ = lesions(70, slots=1, seed=6)
    table = table.iloc[:-1]
    outcome = draw_outcome(table[lesion_column(1, "lesion__original_x_0")].to_numpy(), 4)
    request: dict[str, Any] = {"endpoint": "e", "horizon": None, "inner_folds": 3, "seed": 0}
    mine = fit_final(table, outcome, recipe(table), **request)
    plain = fit_final(table, outcome, recipe(table, aggregate=""), **request)
    np.testing.assert_allclose(pipeline_risk(mine, table), pipeline_risk(plain, table), atol=1e-6)


def test_a_model_of_lesions_is_not_frozen() -> None:
    table, _ = lesions(60)
    made = fit_final(
        table, draw_outcome(np.zeros(60), 1), recipe(table), endpoint="e", horizon=None, inner_folds=3, seed=0
    )
    with pytest.raises(ConfigError, match="cannot be frozen"):
        freeze(made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learner": "random_forest"}, "random_forest does not learn from lesions"),
        ({"learner": "late_fusion"}, "late_fusion does not learn from lesions"),
        ({"selection": "stability"}, "halves of the rows, which here are lesions"),
    ],
)
def test_recipes_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(lesions(5)[0], **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregate": None}, "aggregate is declared exactly if the level is lesion"),
        ({"level": "patient"}, "aggregate is declared exactly if the level is lesion"),
        ({"aggregate": "median"}, "aggregate"),
        ({"radiomics": None, "columns": ["age_years"]}, "takes one selection"),
        ({"radiomics": {"columns": ["largest__*"]}}, "patterns that begin with lesion__"),
        ({"radiomics": {"columns": ["lesion__*"], "timepoints": ["baseline"]}}, "takes one selection"),
        ({"radiomics": {"columns": ["lesion__*"], "missing": "impute"}}, "takes one selection"),
        ({"radiomics": {"columns": ["lesion__*"], "robustness": {"table": "p"}}}, "takes one selection"),
    ],
)
def test_feature_sets_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        feature_set(**changes)


def experiment(**more: Any) -> ExperimentConfig:
    content: dict[str, Any] = {
        "name": "e", "title": "e", "question": "e", "cohort": {"kind": "folder"}, "endpoints": ["recurrence"],
        "learners": ["ridge"], "design": {"seed": 1},
        "feature_sets": {"lesions": feature_set().model_dump(mode="json")},
    }  # fmt: skip
    return parse_config(ExperimentConfig, {**content, **more}, where="test")


def test_experiments_that_are_refused_before_there_are_data() -> None:
    check_learners(experiment(learners=["ridge", "xgboost"]))
    with pytest.raises(ConfigError, match="learn from lesions, which know no harmonisation"):
        experiment(harmonisation={"column": "centre"})
    with pytest.raises(ConfigError, match="no external cohort"):
        experiment(design={"seed": 1, "external": {"elsewhere": "folder"}})
    with pytest.raises(
        ConfigError, match="cannot be delivered.*it speaks about lesions, and a bundle knows patients only"
    ):
        check_learners(experiment(deliver={"recurrence": "lesions/ridge"}))
    with pytest.raises(ConfigError, match="fits no endpoint.*elastic_net does not learn from lesions"):
        check_learners(experiment(learners=["ridge", "elastic_net"]))
