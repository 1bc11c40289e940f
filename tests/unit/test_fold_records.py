"""Records of outer folds: the statistic of each, and the settings chosen in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folder import experiment, make_run_folder

from radiomics_crlm.config import ExperimentConfig, load_endpoints
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.fold_records import fold_records

ENDPOINTS = ("recurrence", "recurrence_24m")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = make_run_folder(tmp_path_factory.mktemp("run"), n=120, endpoints=ENDPOINTS)
    rows = [
        (e, "combined/ridge", r, f, json.dumps({"penalty": p}), 0.5 + p / 10, p == (0.3 if f else 1.0))
        for e in ENDPOINTS
        for r in range(2)
        for f in range(5)
        for p in (1.0, 0.3)
    ]
    names = ["endpoint", "model", "repeat", "fold", "parameters", "concordance", "selected"]
    pd.DataFrame(rows, columns=names).to_csv(out / "tables" / "tuning.csv", index=False)
    return out / "tables"


@pytest.fixture(scope="module")
def records(tables: Path) -> dict:
    config = ExperimentConfig.model_validate(experiment(endpoints=ENDPOINTS))
    return fold_records(tables, config, {name: load_endpoints()[name] for name in ENDPOINTS})


def harrell(months: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Cause-specific C by counting pairs one by one."""
    agreed = total = 0.0
    for i in np.flatnonzero(event == 1):
        for j in range(len(months)):
            if months[j] > months[i] or (months[j] == months[i] and event[j] != 1):
                total += 1
                agreed += 0.5 if risk[i] == risk[j] else float(risk[i] > risk[j])
    return agreed / total


def test_without_a_table_of_tuning_nothing_was_chosen(tables: Path, records: dict, tmp_path: Path) -> None:
    for name in ("predictions", "outcomes", "folds"):
        shutil.copy(tables / f"{name}.parquet", tmp_path)
    config = ExperimentConfig.model_validate(experiment(endpoints=ENDPOINTS[:1]))
    found = fold_records(tmp_path, config, {ENDPOINTS[0]: load_endpoints()[ENDPOINTS[0]]})
    assert set(found) == {key for key in records if key[0] == ENDPOINTS[0]}
    for key, own in found.items():
        assert all(record.chosen == {} and "inner_concordance" not in record.metrics for record in own)
        assert [r.metrics["c_index"] for r in own] == [r.metrics["c_index"] for r in records[key]]


def test_every_fold_of_every_model_has_a_record(records: dict) -> None:
    assert len(records) == 2 * 4
    for own in records.values():
        assert [(r.repeat, r.fold) for r in own] == [(r, f) for r in range(2) for f in range(5)]


def test_the_statistic_is_that_of_the_test_patients(records: dict, tables: Path) -> None:
    predictions, outcomes = (read_table(tables / f"{n}.parquet", n) for n in ("predictions", "outcomes"))
    rows = predictions[(predictions["endpoint"] == "recurrence") & (predictions["model"] == "combined/xgboost")]
    truth = outcomes[outcomes["endpoint"] == "recurrence"].set_index("patient_id")
    for record in records["recurrence", "combined/xgboost"]:
        here = rows[(rows["repeat"] == record.repeat) & (rows["fold"] == record.fold)]
        y = truth.loc[here["patient_id"]]
        expected = harrell(y["months"].to_numpy(), y["event"].to_numpy(), here["risk"].to_numpy())
        assert record.metrics["c_index"] == pytest.approx(expected, abs=1e-12)
        assert record.metrics["test_patients"] == len(here)


@pytest.mark.parametrize(("endpoint", "metric"), [("recurrence", "c_index"), ("recurrence_24m", "auc")])
def test_their_mean_is_that_of_the_metrics(records: dict, tables: Path, endpoint: str, metric: str) -> None:
    saved = read_table(tables / "metrics.parquet", "metrics").set_index(["endpoint", "model", "metric"])
    for (name, model), own in records.items():
        if name == endpoint:
            mean = np.mean([r.metrics[metric] for r in own if metric in r.metrics])
            assert mean == pytest.approx(float(saved.loc[(endpoint, model, f"{metric}_folds"), "estimate"]), abs=1e-12)


def test_chosen_settings_are_those_marked_in_the_table(records: dict) -> None:
    for record in records["recurrence", "combined/ridge"]:
        assert record.chosen == {"penalty": "1.0" if record.fold == 0 else "0.3"}
        assert record.metrics["inner_concordance"] == pytest.approx(0.6 if record.fold == 0 else 0.53)
    assert all("inner_concordance" not in r.metrics for r in records["recurrence", "clinical/ridge"])
