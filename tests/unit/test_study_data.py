"""The numbers behind a report: those of the tables, all of them, and of no patient."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from radiomics_crlm.report.artefacts import load_artefacts, patient_keys
from radiomics_crlm.report.performance import primary_metric
from radiomics_crlm.report.study_data import ESTIMATES, METRICS, PLOTS
from radiomics_crlm.report.study_page import write_report
from radiomics_crlm.report.verdicts import shown_model


@pytest.fixture(scope="module")
def run(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(full_run, tmp_path_factory.mktemp("run") / "run"))


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    write_report(run, run / "report")
    return run / "report"


def test_the_metrics_are_the_main_numbers(run: Path, folder: Path) -> None:
    artefacts = load_artefacts(run)
    found = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    assert sorted(found) == sorted(artefacts.endpoints)
    for endpoint, config in artefacts.endpoints.items():
        metric, table = primary_metric(config), artefacts.tables["metrics"]
        rows = table[(table["endpoint"] == endpoint) & (table["metric"] == metric)].dropna(subset="estimate")
        assert found[endpoint].pop(metric) == dict(zip(rows["model"], rows["estimate"], strict=True))
        answers = artefacts.tables["answers"]
        row = answers[(answers["endpoint"] == endpoint) & (answers["arm"] == "combined")].iloc[0]
        adds = {"estimate": row["difference"], "lower": row["difference_lower"], "upper": row["difference_upper"]}
        assert found[endpoint] == {"radiomics_adds": adds}


def test_every_estimate_of_the_table_is_in_the_estimates(run: Path, folder: Path) -> None:
    table = load_artefacts(run).tables["metrics"]
    found = json.loads((folder / ESTIMATES).read_text(encoding="utf-8"))
    flat = {
        (endpoint, model, metric): values
        for endpoint, models in found.items()
        for model, metrics in models.items()
        for metric, values in metrics.items()
    }
    known = table[table["estimate"].notna()]
    assert len(flat) == len(known) > 0
    for row in known.to_dict("records"):
        at = "" if pd.isna(row["horizon_months"]) else f"_{row['horizon_months']:g}m"
        values = flat[(row["endpoint"], row["model"], f"{row['metric']}{at}")]
        assert values == {name: row[name] for name in ("estimate", "lower", "upper") if pd.notna(row[name])}


@pytest.mark.parametrize(("kind", "table"), [("calibration", "calibration_curves"), ("decision", "decision_curves")])
def test_curves_are_those_of_the_delivered_model(run: Path, folder: Path, kind: str, table: str) -> None:
    artefacts = load_artefacts(run)
    for endpoint in artefacts.endpoints:
        whole = artefacts.tables[table]
        mine = whole[(whole["endpoint"] == endpoint) & (whole["model"] == shown_model(artefacts, endpoint))]
        drawn = pd.read_csv(folder / PLOTS / f"{endpoint}_{kind}.csv")
        pd.testing.assert_frame_equal(drawn, mine[drawn.columns].reset_index(drop=True), check_exact=True)


def test_no_patient_is_in_them_and_old_curves_go(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "report"
    (to / PLOTS).mkdir(parents=True)
    (to / PLOTS / "old_decision.csv").write_text("x\n", encoding="utf-8")
    (to / PLOTS / "mine.txt").write_text("kept\n", encoding="utf-8")
    write_report(run, to)
    assert not (to / PLOTS / "old_decision.csv").exists()
    assert (to / PLOTS / "mine.txt").exists()
    text = "".join(
        path.read_text(encoding="utf-8") for path in [to / METRICS, to / ESTIMATES, *(to / PLOTS).glob("*.csv")]
    )
    keys = patient_keys(load_artefacts(run).tables)
    assert keys
    assert not any(key in text for key in keys)


def test_a_run_without_curves_has_its_metrics_alone(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("report", "*_curves.parquet")))
    write_report(copy, tmp_path / "report")
    assert (tmp_path / "report" / METRICS).is_file()
    assert not (tmp_path / "report" / PLOTS).exists()
