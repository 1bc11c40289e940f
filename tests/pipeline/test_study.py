"""A whole study on simulated patients: accounts add up, folds are shared, bundles score as they were trained."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_experiment import SMALL, write_experiment

from radiomics_crlm.cli.app import run
from radiomics_crlm.config import ExperimentConfig, load_config
from radiomics_crlm.modelling.train import fit_final, pipeline_probability, pipeline_risk
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.scoring.bundle import load_bundle
from radiomics_crlm.study import run as study_run
from radiomics_crlm.study.plans import plan_models
from radiomics_crlm.study.prepare import Prepared, prepare

pytestmark = pytest.mark.xdist_group("small study")


def table(study: Path, name: str) -> pd.DataFrame:
    return read_table(study / "tables" / f"{name}.parquet", name)


def test_patients_in_are_patients_out_plus_exclusions(small_study):
    record = json.loads((small_study / "run.json").read_text())
    account = record["flow"]["cohort"]
    assert account["in"] == 36
    assert account["in"] == account["out"] + sum(e["n"] for e in account["excluded"])
    outcomes = table(small_study, "outcomes")
    for name, here in record["flow"]["endpoints"].items():
        assert here["in"] == account["out"]
        assert here["in"] == here["out"] + sum(e["n"] for e in here["excluded"])
        assert here["out"] == (outcomes["endpoint"] == name).sum()


def test_all_models_share_the_folds(small_study):
    folds = table(small_study, "folds").set_index(["patient_id", "repeat"])["fold"]
    predictions = table(small_study, "predictions")
    assert set(predictions["model"]) == {
        *(f"{s}/{learner}" for s in ("clinical", "radiomics", "combined") for learner in SMALL["learners"]),
        "volume_only/ridge",
        "negative_control/ridge",
    }
    expected = folds.loc[pd.MultiIndex.from_frame(predictions[["patient_id", "repeat"]])].to_numpy()
    np.testing.assert_array_equal(predictions["fold"], expected)


def test_delivered_models_were_refitted(small_study):
    found = table(small_study, "instability")
    record = json.loads((small_study / "run.json").read_text())
    models = found[["endpoint", "model"]].drop_duplicates().set_index("endpoint")["model"].to_dict()
    assert models == {name: d["model"] for name, d in record["delivered"].items()}
    for name, own in found.groupby("endpoint"):
        assert set(own["horizon_months"]) <= ({24.0} if name == "recurrence_24m" else {12.0, 24.0, 36.0})
        assert (own.groupby("horizon_months").size() == record["flow"]["endpoints"][name]["out"]).all()
    assert set(found["draws"]) == {4}
    assert (found["lower"] <= found["upper"]).all()
    assert (found["mape"] > 0).mean() > 0.9


def test_delivered_bundles_know_their_uncertainty_and_training(small_study):
    covered = table(small_study, "conformal_coverage")
    for name in ("recurrence_24m", "recurrence"):
        content = load_bundle(small_study / "bundles" / name).content
        known = content.uncertainty
        assert known is not None
        assert content.shift is not None
        assert content.shift.patients == content.training.patients
        own = covered[(covered["endpoint"] == name) & (covered["column"] == "all")]
        sets = own[own["kind"] == "outcome_set"]
        assert sets["threshold"].tolist() == [one.threshold for one in known.sets]
        assert (sets["covered"] >= 0.9).all()
        assert (known.bound is None) == (name == "recurrence_24m")
        refitted = table(small_study, "instability").query("endpoint == @name")
        assert [float(band.months) for band in known.bands] == sorted(set(refitted["horizon_months"]))


def test_every_lesion_is_a_row_and_failures_have_reasons(small_study):
    lesions, features = table(small_study, "lesions"), table(small_study, "features_lesion")
    assert len(lesions) == len(features) > 50
    failed = features[features["status"] == "failed"]
    assert failed["reason"].notna().all()
    assert features.loc[features["status"] == "ok", "lesion__original_firstorder_Mean"].notna().all()
    truth = read_table_csv(small_study / "cohort" / "clinical.csv").set_index("patient_id")
    first = lesions[lesions["timepoint"].isin(["baseline", "preoperative"]) & (lesions["modality"] == "CT")]
    counts = first.groupby("patient_id").size()
    assert (counts == truth.loc[counts.index, "n_liver_mets"].astype(int)).all()


def read_table_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="str", keep_default_na=False)


def test_no_late_column_is_a_predictor(small_study):
    from radiomics_crlm.schema import is_later, load_schema

    record = json.loads((small_study / "run.json").read_text())
    schema = load_schema("clinical")
    for name, models in record["models"].items():
        speaks = record["endpoints"][name]["prediction_time"]
        for model in models.values():
            clinical = [c for c in model["columns"] if c in schema.columns]
            assert not [c for c in clinical if is_later(schema.columns[c].available_at, speaks)]
    assert not any(record["leak"]["admitted"].values())


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentConfig, Prepared]:
    """The training of the small study anew with two jobs: its folder, and what came before the first fit."""
    root = tmp_path_factory.mktemp("again")
    file, seen = write_experiment(root / "again.yaml", **SMALL), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_run, "prepare", lambda *a, **k: seen.append(prepare(*a, **k)) or seen[-1])
        assert run(["train", str(file), "--out", str(root / "out"), "--jobs", "2"]) == 0
    (prepared,) = seen
    return root / "out", load_config(ExperimentConfig, file), prepared


def test_scores_of_the_cohort_equal_the_refitted_model(small_study, again, tmp_path):
    """The bundle, read back from disk and given the cohort's own folder, repeats the pipeline that was delivered."""
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "clinical.csv").write_bytes((small_study / "cohort" / "clinical.csv").read_bytes())
    for name in ("features_patient", "features_lesion"):
        (cohort / f"{name}.parquet").write_bytes((small_study / "tables" / f"{name}.parquet").read_bytes())
    _, experiment, prepared = again
    plans = {(p.endpoint, p.name): p for p in plan_models(experiment, prepared, allow_leak=False)}
    for endpoint, model in SMALL["deliver"].items():
        out = tmp_path / "scores" / endpoint
        code = run(
            ["score", "--bundle", str(small_study / "bundles" / endpoint), "--cohort", str(cohort), "--out", str(out)]
        )
        scores = read_table(out / "scores.parquet", "scores").set_index("patient_id")
        assert len(scores) == 36
        assert code == (0 if (scores["status"] == "scored").all() else 4)
        plan = plans[endpoint, model]
        table_x = plan.predictors.table
        outcome = prepared.outcomes[endpoint].set_index("patient_id")[["event", "months"]].loc[table_x.index]
        pipeline = fit_final(
            table_x,
            outcome,
            plan.recipe,
            endpoint=endpoint,
            horizon=prepared.endpoints[endpoint].horizon_months,
            inner_folds=experiment.design.inner_folds,
            seed=experiment.design.seed,
            min_events=prepared.endpoints[endpoint].min_events,
        )
        mine = scores.loc[table_x.index]
        assert (mine["status"] == "scored").all()
        np.testing.assert_array_equal(mine["risk"].to_numpy(), pipeline_risk(pipeline, table_x))
        probability = pipeline_probability(pipeline, table_x, (12.0, 24.0, 36.0))
        np.testing.assert_array_equal(mine["probability_24m"].to_numpy(), probability[:, 1])


def test_scoring_from_images_twice_gives_the_same_bytes(small_study, tmp_path):
    bundle = str(small_study / "bundles" / "recurrence_24m")
    cohort = tmp_path / "new"
    assert run(["simulate", "--patients", "4", "--seed", "9", "--out", str(cohort), "--jobs", "1"]) == 0
    codes = [
        run(["score", "--bundle", bundle, "--cohort", str(cohort), "--out", str(tmp_path / name), "--jobs", jobs])
        for name, jobs in (("a", "1"), ("b", "2"))
    ]
    for file in ("scores.parquet", "scores.csv", "summary.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    scores = read_table(tmp_path / "a" / "scores.parquet", "scores")
    assert len(scores) == 4
    assert codes == [0 if (scores["status"] == "scored").all() else 4] * 2


def test_one_bad_patient_does_not_stop_the_others(small_study, tmp_path):
    cohort = tmp_path / "new"
    assert run(["simulate", "--patients", "5", "--seed", "9", "--out", str(cohort), "--jobs", "1"]) == 0
    clinical = read_table_csv(cohort / "clinical.csv")
    clinical.loc[0, "cea_ng_ml"] = "plenty"
    clinical.loc[1, "age_years"] = "7"
    clinical.to_csv(cohort / "clinical.csv", index=False)
    scans = pd.read_csv(cohort / "imaging.csv")
    for image in scans.loc[scans["patient_id"] == clinical.loc[2, "patient_id"], "image"].unique():
        (cohort / image).write_bytes((cohort / image).read_bytes()[:4000])
    out = tmp_path / "scores"
    bundle = str(small_study / "bundles" / "recurrence_24m")
    assert run(["score", "--bundle", bundle, "--cohort", str(cohort), "--out", str(out)]) == 4
    scores = read_table(out / "scores.parquet", "scores")
    assert scores["status"].tolist() == ["abstained"] * 3 + ["scored"] * 2
    assert "column cea_ng_ml" in scores["reason"][0]
    assert "column age_years" in scores["reason"][1]
    assert "scan" in scores["reason"][2]
    assert not scores["reason"].str.contains("plenty").any()


def test_runs_are_tracked(small_study):
    with closing(sqlite3.connect(small_study / "mlflow.db")) as store:
        check_store(store, small_study)


def check_store(store: sqlite3.Connection, small_study: Path) -> None:
    names = {row[0] for row in store.execute("select name from runs")}
    assert "small" in names
    assert "recurrence_24m: combined/ridge" in names
    models = 2 * (3 * 2 + 2)  # of each endpoint those of the experiment, and two controls
    assert len(names) == 1 + models + models * 3  # the study, its models, and an outer fold of each
    metrics = dict(store.execute("select key, count(*) from metrics group by key"))
    assert metrics["auc"] == 8 + 8 * 3
    assert metrics["c_index"] == 8 + 8 * 3
    parents = store.execute(
        "select r.name, p.name from runs r join tags t on t.run_uuid = r.run_uuid and t.key = 'mlflow.parentRunId' "
        "join runs p on p.run_uuid = t.value"
    ).fetchall()
    above = dict(parents)
    assert above["recurrence_24m: combined/ridge"] == "small"
    assert above["recurrence_24m: combined/ridge, fold 2"] == "recurrence_24m: combined/ridge"
    datasets = dict(store.execute("select name, digest from datasets"))
    assert sorted(name.rpartition(": ")[2] for name in datasets) == ["clinical", "features_patient", "folds"]
    hashes = json.loads((small_study / "run.json").read_text(encoding="utf-8"))["hashes"]
    assert all(hashes[name.rpartition(": ")[2]].startswith(digest) for name, digest in datasets.items())
    versions = store.execute("select name, version, source from model_versions").fetchall()
    assert sorted(v[0] for v in versions) == ["small_recurrence", "small_recurrence_24m"]
    tags = dict(store.execute("select name, value from model_version_tags where key = 'bundle_sha256'"))
    assert tags["small_recurrence_24m"] == load_bundle(small_study / "bundles" / "recurrence_24m").sha256
    patients = set(table(small_study, "clinical")["patient_id"])
    rows = [row for name in ("params", "tags") for row in store.execute(f"select key, value from {name}")]  # noqa: S608
    texts = [str(cell) for row in rows for cell in row]
    assert not [t for t in texts if any(p in t for p in patients)]


def test_later_stages_can_be_repeated(small_study):
    before = {n: (small_study / n).read_bytes() for n in ("card.html", "card.json", "tables/metrics.parquet")}
    assert run(["evaluate", str(small_study)]) == 0
    assert run(["explain", str(small_study)]) == 0
    assert run(["card", str(small_study)]) == 0
    for name, content in before.items():
        assert (small_study / name).read_bytes() == content


def test_two_runs_give_the_same_bytes_with_other_jobs(small_study, again):
    out, _, _ = again
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    assert out / "tables" / "predictions.parquet" in paths
    for path in paths:
        twin = small_study / path.relative_to(out)
        assert path.read_bytes() == twin.read_bytes(), path.name
