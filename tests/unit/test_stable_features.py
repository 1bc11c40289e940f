"""Perturbed features from the experiment file to a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.config import ExperimentConfig, FeatureSetConfig, load_endpoints, parse_config
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.modelling.design import Predictors, build_predictors
from radiomics_crlm.provenance.tables import write_table
from radiomics_crlm.study.stable_features import read_perturbed, robustness_for

ENDPOINT = load_endpoints()["recurrence"]
KEY = {"timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}
COLUMNS = ["largest__steady", "largest__shaky", "burden__total_volume_ml"]


def features(n: int = 30) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"patient_id": [f"P{i:02d}" for i in range(n)], **KEY})
    return table.assign(**{name: generator.lognormal(0, 1, n) for name in COLUMNS})


def perturbed() -> pd.DataFrame:
    base, generator = features().drop(columns="burden__total_volume_ml"), np.random.default_rng(1)
    tables = [base.assign(perturbation="original", source="original")]
    for name, source, size in (("noise", "perturbation", 1.0), ("reader:B", "reader", 0.0)):
        changed = base.assign(perturbation=name, source=source)
        tables.append(changed.assign(largest__shaky=base["largest__shaky"] + size * generator.normal(0, 3, len(base))))
    return pd.concat(tables, ignore_index=True)


def feature_set(**more: object) -> FeatureSetConfig:
    radiomics = {"columns": ["largest__*", "burden__*"], "robustness": {"table": "p.parquet", **more}}
    return FeatureSetConfig(title="stable", radiomics=radiomics)


def predictors(chosen: FeatureSetConfig) -> Predictors:
    clinical = pd.DataFrame({"patient_id": features()["patient_id"]})
    return build_predictors(
        chosen, clinical=clinical, features_patient=features(), available_at={}, speaks_at=ENDPOINT.prediction_time
    )


def test_lesion_aggregates_are_judged_and_burden_is_not() -> None:
    chosen = feature_set(minimum=0.6)
    found = robustness_for(chosen, predictors(chosen), ENDPOINT, {"p.parquet": perturbed()})
    assert found is not None
    assert found.minimum == 0.6
    assert found.ratings.names == ("largest__shaky", "largest__steady")
    assert found.ratings.raters == ("original", "noise")
    assert len(found.ratings.patients) == 30


def test_readers_on_request() -> None:
    chosen = feature_set(raters="readers")
    found = robustness_for(chosen, predictors(chosen), ENDPOINT, {"p.parquet": perturbed()})
    assert found is not None
    assert found.ratings.raters == ("original", "reader:B")


def test_nothing_without_request() -> None:
    plain = FeatureSetConfig(title="all", radiomics={"columns": ["largest__*"]})
    assert robustness_for(plain, predictors(plain), ENDPOINT, {}) is None


def test_tables_of_other_features_are_refused() -> None:
    chosen = feature_set()
    other = perturbed().assign(largest__steady=lambda t: t["largest__steady"] * 1.01)
    with pytest.raises(InputError, match="1 unperturbed features differ from those of the study in 30 patients"):
        robustness_for(chosen, predictors(chosen), ENDPOINT, {"p.parquet": other})
    with pytest.raises(ConfigError, match="perturbed features lack 1 columns of the model"):
        robustness_for(chosen, predictors(chosen), ENDPOINT, {"p.parquet": perturbed().drop(columns="largest__shaky")})


def test_burden_alone_cannot_be_judged() -> None:
    burden = FeatureSetConfig(title="b", radiomics={"columns": ["burden__*"], "robustness": {"table": "p.parquet"}})
    with pytest.raises(ConfigError, match="has none that perturbations can judge"):
        robustness_for(burden, predictors(burden), ENDPOINT, {"p.parquet": perturbed()})


def experiment(table: str) -> ExperimentConfig:
    content = {
        "name": "e", "title": "e", "question": "e", "cohort": {"kind": "folder"}, "endpoints": ["recurrence"],
        "learners": ["ridge"], "design": {"seed": 1},
        "feature_sets": {
            "a": {"title": "a", "radiomics": {"robustness": {"table": table}}}, "b": {"title": "b", "columns": "all"}
        },
    }  # fmt: skip
    return parse_config(ExperimentConfig, content, where="test")


def test_tables_are_read_from_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(perturbed(), tmp_path / "sub" / "p.parquet", "perturbed_patients")
    found = read_perturbed(experiment("sub/p.parquet"), tmp_path)
    assert list(found) == ["sub/p.parquet"]
    assert len(found["sub/p.parquet"]) == 90
    monkeypatch.chdir(tmp_path)
    assert list(read_perturbed(experiment("sub/p.parquet"), None)) == ["sub/p.parquet"]
    assert list(read_perturbed(experiment(str(tmp_path / "sub" / "p.parquet")), Path("elsewhere"))) != []
    with pytest.raises(InputError, match="table 'perturbed_patients' is missing"):
        read_perturbed(experiment("absent.parquet"), tmp_path)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"minimum": 1.5}, "minimum"),
        ({"table": ""}, "table"),
        ({"raters": "both"}, "raters"),
        ({"maximum": 1}, "maximum"),
    ],
)
def test_options_are_checked(wrong: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        feature_set(**wrong)
