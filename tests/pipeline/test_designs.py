"""Designs other than repeated cross-validation, from the experiment file to the card."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from radiomics_crlm.cli.app import run
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table

pytestmark = pytest.mark.xdist_group("designs")
BASE: dict[str, Any] = {
    "name": "designs",
    "title": "Designs",
    "question": "Does it hold elsewhere?",
    "cohort": {"kind": "folder"},
    "endpoints": ["recurrence_6m", "recurrence"],
    "feature_sets": {"clinical": {"title": "Clinical factors", "columns": ["age_years", "cea_ng_ml", "n_liver_mets"]}},
    "learners": ["ridge"],
    "rules": ["fong_crs"],
    "comparators": ["fong_crs"],
}
DESIGN = {"inner_folds": 3, "seed": 4, "bootstrap_draws": 100}


def charts(n: int, seed: int, prefix: str) -> pd.DataFrame:
    """Patients whose number of metastases tells when they recur."""
    generator = np.random.default_rng(seed)
    mets = generator.integers(1, 9, n)
    recurs = generator.exponential(30 * np.exp(-0.35 * (mets - 3)))
    months = np.minimum(recurs, generator.uniform(6, 60, n)).round(2)
    event = months >= recurs.round(2)
    return pd.DataFrame(
        {
            "patient_id": [f"{prefix}{i:03d}" for i in range(n)],
            "age_years": generator.uniform(40, 80, n).round(1),
            "cea_ng_ml": generator.lognormal(2, 1, n).round(1),
            "n_liver_mets": mets,
            "node_positive_primary": generator.random(n) < 0.5,
            "dfi_months": generator.uniform(0, 30, n).round(1),
            "largest_met_mm": generator.uniform(10, 90, n).round(0),
            "centre": generator.choice(["north", "south", "west"], n),
            "operation_year": generator.integers(2000, 2012, n),
            "recurrence_any": event,
            "rfs_event": event,
            "rfs_months": months,
        }
    )


def study(tmp_path: Path, design: dict[str, Any], **changes: Any) -> int:
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    if not (data / "clinical.csv").is_file():
        charts(150, 0, "A").to_csv(data / "clinical.csv", index=False)
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({**BASE, "design": {**DESIGN, **design}, **changes}), encoding="utf-8")
    return run(["run", str(path), "--data", str(data), "--out", str(tmp_path / "out"), "--jobs", "1"])


def tables(tmp_path: Path, *names: str, below: str = "") -> list[pd.DataFrame]:
    return [read_table(tmp_path / "out" / "tables" / below / f"{name}.parquet", name) for name in names]


def test_each_centre_is_tested_by_the_others(tmp_path):
    assert study(tmp_path, {"kind": "leave_one_centre_out", "column": "centre"}) == 0
    predictions, clinical, metrics = tables(tmp_path, "predictions", "clinical", "metrics")
    centre = predictions["patient_id"].map(clinical.set_index("patient_id")["centre"])
    assert (centre.map({"north": 0, "south": 1, "west": 2}) == predictions["fold"]).all()
    assert len(predictions) == 150 * 2
    auc = metrics[(metrics["metric"] == "auc") & (metrics["model"] == "clinical/ridge")]["estimate"].iloc[0]
    assert auc > 0.6
    assert predictions.loc[predictions["endpoint"] == "recurrence_6m", "probability_6m"].between(0, 1).all()
    assert "each centre was tested by models of the other centres" in (tmp_path / "out" / "card.html").read_text()


def test_later_patients_are_tested_by_models_of_earlier_ones(tmp_path):
    deliver = {"recurrence": "clinical/ridge"}
    design = {"kind": "temporal", "column": "operation_year", "cuts": [2006, 2009]}
    assert study(tmp_path, design, deliver=deliver) == 0
    predictions, clinical, metrics, shap = tables(tmp_path, "predictions", "clinical", "metrics", "attributions")
    year = predictions["patient_id"].map(clinical.set_index("patient_id")["operation_year"])
    assert (predictions["fold"] == 1 + (year >= 2009)).all()
    assert year.min() == 2006
    later = int((clinical["operation_year"] >= 2006).sum())
    assert set(metrics.loc[metrics["n"] > 0, "n"]) == {later}
    assert shap["patient_id"].nunique() == later


def test_a_cohort_from_elsewhere_is_predicted_once(tmp_path):
    elsewhere = tmp_path / "data" / "oslo"
    elsewhere.mkdir(parents=True)
    charts(80, 1, "B").drop(columns="cea_ng_ml").to_csv(elsewhere / "clinical.csv", index=False)
    design = {"outer_folds": 3, "repeats": 1, "external": {"oslo": "oslo"}}
    assert study(tmp_path, design, deliver={"recurrence": "clinical/ridge"}) == 0
    predictions, metrics = tables(tmp_path, "predictions", "metrics", below="external/oslo")
    assert len(predictions) == 80 * 2
    assert set(metrics["n"]) <= {80}
    c_index = metrics[(metrics["metric"] == "c_index") & (metrics["model"] == "clinical/ridge")]["estimate"].iloc[0]
    assert c_index > 0.6
    record = read_json(tmp_path / "out" / "run.json", what="run")["external"]["oslo"]
    assert record["lacking"]["recurrence, clinical/ridge"] == ["cea_ng_ml"]
    (panel,) = tables(tmp_path, "sample_size")
    assert panel["parameters"].tolist() == [3, 3]
    assert (panel["n_required"] >= panel["n_precision"]).all()
    assert record["flow"] == {"in": 80, "excluded": [], "out": 80}


def one_centre_rare(table: pd.DataFrame) -> pd.DataFrame:
    quiet = table["centre"] == "west"
    return table.assign(rfs_months=table["rfs_months"].mask(quiet, 50.0))


@pytest.mark.parametrize(
    ("design", "change", "code", "words"),
    [
        ({"kind": "leave_one_centre_out", "column": "scanner"}, None, 2, "lacks the column of the design"),
        (
            {"kind": "leave_one_centre_out", "column": "centre"},
            one_centre_rare, 3, "fold 2: the test fold has no event; expected at least 1; got 0 in",
        ),
        ({"kind": "temporal", "column": "operation_year", "cuts": [2001]}, None, 3, "training fold has too few events"),
        ({"external": {"rome": "rome"}}, None, 3, "cohort folder is missing"),
        ({"external": {"self": "."}}, None, 3, "the development cohort and self: 150 patients are in two cohorts"),
    ],
)  # fmt: skip
def test_refused_before_the_first_fit(tmp_path, capsys, monkeypatch, design, change, code, words):
    (tmp_path / "data").mkdir()
    table = charts(150, 0, "A")
    (change(table) if change else table).to_csv(tmp_path / "data" / "clinical.csv", index=False)
    monkeypatch.setattr("radiomics_crlm.study.models.cross_validate", lambda *_, **__: pytest.fail("it was fitted"))
    assert study(tmp_path, design) == code
    assert re.search(re.escape(words), " ".join(capsys.readouterr().err.split()))


def test_an_external_cohort_without_the_endpoint_is_refused(tmp_path, capsys):
    elsewhere = tmp_path / "data" / "oslo"
    elsewhere.mkdir(parents=True)
    charts(80, 1, "B").drop(columns="rfs_event").to_csv(elsewhere / "clinical.csv", index=False)
    assert study(tmp_path, {"external": {"oslo": "oslo"}}) == 2
    assert "lacks columns by which the endpoint is defined" in " ".join(capsys.readouterr().err.split())


def test_search_calibration_and_thresholds_are_recorded(tmp_path):
    tuning = {"method": "optuna", "trials": 4, "space": {"ridge": {"penalty": {"low": 0.1, "high": 1, "log": True}}}}
    operating = {"calibration": "platt", "thresholds": [{"sensitivity": 0.9}, {"net_benefit": [0.2, 0.5]}]}
    design = {"outer_folds": 3, "repeats": 1}
    assert study(tmp_path, design, tuning=tuning, operating=operating, endpoints=["recurrence"]) == 0
    (thresholds,) = tables(tmp_path, "thresholds")
    assert thresholds.groupby("fold")["rule"].nunique().tolist() == [2, 2, 2]
    tried = pd.read_csv(tmp_path / "out" / "tables" / "tuning.csv")
    assert len(tried) == 3 * 4
    assert study(tmp_path, design, operating=operating, deliver={"recurrence": "clinical/ridge"}) == 2
