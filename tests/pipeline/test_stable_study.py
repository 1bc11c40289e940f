"""A study on stable features only, from scans to a scored cohort."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_experiment import SMALL, write_experiment

from radiomics_crlm.cli.app import run
from radiomics_crlm.provenance.files import read_json
from radiomics_crlm.provenance.tables import read_table

PLAN = ["--perturbations", "rotate:8,noise,grow:0.2,grow:-0.2", "--no-controls", "--profile", "ct-portal-venous-native"]
COLUMNS = ["largest__original_glszm_*", "largest__original_firstorder_*"]


@pytest.mark.slow
def test_models_see_stable_features_only(tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    assert run(["simulate", "--out", str(cohort), "--patients", "70", "--seed", "4"]) == 0
    imaging = pd.read_csv(cohort / "imaging.csv")
    kept = (imaging["timepoint"] == "preoperative") & (imaging["modality"] == "CT")
    imaging[kept].to_csv(cohort / "imaging.csv", index=False)
    assert run(["robustness", str(cohort), "--out", str(cohort / "robust"), *PLAN]) == 4
    radiomics = {
        "columns": COLUMNS,
        "robustness": {"table": "robust/perturbed_patients.parquet", "minimum": 0.9},
    }
    sets = {"stable": {"title": "stable", "radiomics": radiomics}}
    changes = {
        **SMALL,
        "cohort": {"kind": "folder"},
        "endpoints": ["recurrence"],
        "learners": ["ridge"],
        "feature_sets": sets,
        "deliver": {"recurrence": "stable/ridge"},
    }
    file = write_experiment(tmp_path / "stable.yaml", **changes)
    out = tmp_path / "study"
    assert run(["run", str(file), "--data", str(cohort), "--out", str(out), "--jobs", "2"]) == 4
    assert "perturbed_patients_1" in read_json(out / "run.json", what="run")["hashes"]
    used = set(read_table(out / "tables" / "attributions.parquet", "attributions")["feature"])
    stability = read_table(cohort / "robust" / "feature_stability.parquet", "feature_stability")
    lower = stability[stability["modality"] == "CT"].set_index("feature")["icc2_lower"]
    shaky = {"largest__" + name.removeprefix("lesion__") for name in lower.index[lower < 0.5]}
    offered = set(read_json(out / "run.json", what="run")["models"]["recurrence"]["stable/ridge"]["columns"])
    assert used
    assert shaky & offered
    assert not shaky & used
    bundle, scores = (
        out / read_json(out / "run.json", what="run")["delivered"]["recurrence"]["bundle"],
        tmp_path / "scores",
    )
    assert run(["score", "--bundle", str(bundle), "--cohort", str(cohort), "--out", str(scores)]) == 4
