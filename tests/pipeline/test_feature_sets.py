"""Experiments on feature sets of several scans, of time points and change, of burden and of lesions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scan_tables import CT, MR, features
from small_experiment import write_experiment

from radiomics_crlm.cli.app import run
from radiomics_crlm.cohort.clinical import read_cohort_folder
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study import prepare

pytestmark = pytest.mark.xdist_group("feature sets")

N = 90
COMMON: dict[str, Any] = {
    "endpoints": ["conversion_restaging"],
    "learners": ["ridge", "xgboost"],
    "design": {"outer_folds": 3, "repeats": 1, "inner_folds": 3, "seed": 5, "bootstrap_draws": 100},
    "rules": ["fong_crs"],
    "comparators": ["fong_crs"],
    "deliver": {},
}
ON_CT: dict[str, Any] = {"modality": "CT", "sequence": "portal_venous", "columns": ["largest__*", "burden__*"]}
ON_MR: dict[str, Any] = {"modality": "MR", "sequence": "hbp", "columns": ["largest__*"]}
SETS: dict[str, Any] = {
    "clinical": {"title": "Clinical factors", "columns": ["age_years", "cea_ng_ml"]},
    "burden": {"title": "Burden", "radiomics": {"columns": ["burden__*"]}},
    "ct_mr": {"title": "CT and MR", "columns": ["age_years", "cea_ng_ml"], "radiomics": [ON_CT, ON_MR]},
    "course": {"title": "Course", "radiomics": {**ON_CT, "timepoints": ["baseline", "restaging", "delta"]}},
}


def charts(table: pd.DataFrame, seed: int = 3) -> pd.DataFrame:
    """Charts of patients who convert if their tumours shrink."""
    generator = np.random.default_rng(seed)
    on_ct = table[(table["modality"] == "CT") & table["patient_id"].notna()]
    volume = on_ct.pivot(index="patient_id", columns="timepoint", values="burden__total_volume_ml")
    change = np.log(volume["restaging"] / volume["baseline"])
    return pd.DataFrame(
        {
            "patient_id": volume.index,
            "age_years": generator.uniform(40, 80, N).round(1),
            "cea_ng_ml": generator.lognormal(2, 1, N).round(1),
            "initially_resectable": False,
            "complete_local_treatment": (change + generator.normal(0, 0.8, N) < 0).to_numpy(),
        }
    )


def study(folder: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> int:
    """Run an experiment on a table of features, as if they had been extracted elsewhere."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    charts(table).to_csv(data / "clinical.csv", index=False)
    monkeypatch.setattr(
        prepare, "read_cohort_folder", lambda root: replace(read_cohort_folder(root), features_patient=table)
    )
    file = write_experiment(
        folder / "study.yaml", **{"cohort": {"kind": "folder"}, "feature_sets": SETS, **COMMON, **changes}
    )
    return run(["run", str(file), "--data", str(data), "--out", str(folder / "study"), "--jobs", "1"])


def test_two_modalities_and_the_course_of_treatment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = features(N, without={MR: 25})
    assert study(tmp_path, table, monkeypatch) == 0
    record = read_json(tmp_path / "study" / "run.json", what="run")
    models = record["models"]["conversion_restaging"]
    assert {model["n"] for model in models.values()} == {N}
    assert record["flow"]["endpoints"]["conversion_restaging"]["out"] == N
    assert models["ct_mr/ridge"]["patients_without"] == {"CT/portal_venous": 0, "MR/hbp": 25}
    assert models["burden/ridge"]["patients_without"] == {}
    assert set(models["burden/ridge"]["columns"]) == {c for c in table if c.startswith("burden__")}
    predictions = read_table(tmp_path / "study" / "tables" / "predictions.parquet", "predictions")
    assert predictions.groupby("model")["patient_id"].nunique().loc[list(models)].eq(N).all()
    metrics = read_table(tmp_path / "study" / "tables" / "metrics.parquet", "metrics").set_index(["model", "metric"])
    # The truth is the change of volume, which one scan does not show.
    assert metrics.loc[("course/ridge", "auc"), "estimate"] > metrics.loc[("burden/ridge", "auc"), "estimate"] + 0.05
    assert (tmp_path / "study" / "card.html").is_file()


def test_order_of_rows_and_of_selections_leaves_every_table_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = features(N, without={MR: 25})
    both = {"title": "both", "radiomics": [{**ON_CT, "timepoints": ["baseline", "delta"]}, ON_MR]}
    turned = {"title": "both", "radiomics": [ON_MR, {**ON_CT, "timepoints": ["delta", "baseline"]}]}
    found = []
    for number, (rows, body) in enumerate([(table, both), (table.sample(frac=1, random_state=1), turned)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert study(folder, rows, monkeypatch, learners=["ridge"], feature_sets={"both": body}) == 0
        found.append(read_table(folder / "study" / "tables" / "predictions.parquet", "predictions"))
    pd.testing.assert_frame_equal(*found)


def test_what_cannot_be_is_refused_before_the_first_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = features(N, without={MR: 25})
    assert study(tmp_path, table, monkeypatch, endpoints=["conversion"]) == 2
    assert "CT/portal_venous at restaging is known only at restaging, but the model speaks at baseline" in " ".join(
        capsys.readouterr().err.split()
    )
    rare = features(N, without={MR: N - 1})
    sets = {"ct_mr": SETS["ct_mr"]}
    assert study(tmp_path, rare, monkeypatch, feature_sets=sets, learners=["ridge"]) == 3
    assert "nobody in the training fold has MR/hbp; expected at least 1 of 60" in " ".join(
        capsys.readouterr().err.split()
    )
    gone = features(N, kinds=(CT,))
    assert study(tmp_path, gone, monkeypatch, feature_sets=sets, learners=["ridge"]) == 3
    assert "no scans MR/hbp known at the prediction time" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_from_simulated_scans_to_scores(tmp_path: Path) -> None:
    """Two scans of each patient, MR of some: lesions, change, both modalities, burden; two models are delivered."""
    lesions = {
        "title": "Worst lesion", "level": "lesion", "aggregate": "max",
        "radiomics": {"columns": ["lesion__original_firstorder_*"]},
    }  # fmt: skip
    settings = {"patients": 40, "unresectable_fraction": 1, "mr_fraction": 0.5}
    texture = {"columns": ["largest__original_firstorder_*"]}
    sets = {
        "burden": SETS["burden"],
        "lesions": lesions,
        "ct_mr": {"title": "CT and MR", "radiomics": [{**ON_CT, **texture}, {**ON_MR, **texture}]},
        "course": {"title": "Course", "radiomics": {**ON_CT, **texture, "timepoints": ["baseline", "delta"]}},
    }
    file = write_experiment(
        tmp_path / "scans.yaml",
        **{
            **COMMON,
            "cohort": {"kind": "simulated", "settings": settings},
            "feature_sets": sets,
            "profiles": {"CT/portal_venous": "ct-portal-venous-native"},
            "endpoints": ["conversion_restaging", "os"],
            "deliver": {"conversion_restaging": "ct_mr/ridge", "os": "burden/xgboost"},
        },
    )
    out = tmp_path / "study"
    assert run(["run", str(file), "--out", str(out), "--jobs", "2"]) == 4
    record = read_json(out / "run.json", what="run")
    models = record["models"]["conversion_restaging"]
    assert set(models) == {f"{name}/{learner}" for name in sets for learner in ("ridge", "xgboost")}
    assert 0 < models["ct_mr/ridge"]["patients_without"]["MR/hbp"] < models["ct_mr/ridge"]["n"]
    assert all(name.startswith("lesion__original_firstorder_") for name in models["lesions/ridge"]["columns"])
    predictions = read_table(out / "tables" / "predictions.parquet", "predictions")
    with_mr = set(pd.read_csv(out / "cohort" / "imaging.csv").query("modality == 'MR'")["patient_id"])
    for endpoint, delivered in record["delivered"].items():
        folder = tmp_path / endpoint
        command = ["score", "--bundle", str(out / delivered["bundle"]), "--cohort", str(out / "cohort")]
        code = run([*command, "--out", str(folder)])
        scores = read_table(folder / "scores.parquet", "scores").set_index("patient_id")
        assert code == (0 if (scores["status"] == "scored").all() else 4)
        known = predictions.loc[predictions["endpoint"] == endpoint, "patient_id"].unique()
        assert (scores.loc[known, "status"] == "scored").all()
        if endpoint == "conversion_restaging":
            assert scores.loc[known, "flags"].str.contains("missing:").eq(~pd.Index(known).isin(with_mr)).all()
