"""The real cohort: 197 patients add up, the delivered Fong score meets its anchors, leaks are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from radiomics_crlm.cli.app import run
from radiomics_crlm.cohort.endpoints import build_outcome
from radiomics_crlm.cohort.tcia import apply_layout, read_tcia_clinical
from radiomics_crlm.config import load_endpoints
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.resources import resource
from radiomics_crlm.schema import is_later, load_schema

pytestmark = pytest.mark.xdist_group("tcia")

# The experiment as shipped has 10 repeats, four learners and many refits; a few are enough for what is asserted here.
FAST = {
    "learners": ["ridge"],
    "design": {"outer_folds": 5, "repeats": 2, "inner_folds": 5, "seed": 20261121, "bootstrap_draws": 100},
    "answer": {"clinical": "clinical_without_size", "rule": "fong_score_reported", "permutations": 2},
}


def experiment(folder: Path, **changes: object) -> Path:
    content = yaml.safe_load(resource("experiments/tcia_crlm_clinical.yaml").read_text(encoding="utf-8"))
    file = folder / "tcia.yaml"
    file.write_text(yaml.safe_dump({**content, **FAST, **changes}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def honest(shared_data, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tcia")
    assert run(["run", str(experiment(root)), "--data", str(shared_data), "--out", str(root / "out")]) == 0
    return root / "out"


@pytest.fixture(scope="module")
def leaking(shared_data, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("leak")
    file = experiment(root, endpoints=["recurrence_24m"], deliver={"recurrence_24m": "clinical/ridge"})
    arguments = ["run", str(file), "--data", str(shared_data), "--out", str(root / "out"), "--allow-leak"]
    assert run(arguments) == 0
    return root / "out"


def estimate(study: Path, endpoint: str, model: str, metric: str) -> pd.Series:
    metrics = read_table(study / "tables" / "metrics.parquet", "metrics")
    return metrics.set_index(["endpoint", "model", "metric"]).loc[(endpoint, model, metric)]


def test_flow_adds_up_to_197(honest):
    record = json.loads((honest / "run.json").read_text())
    assert record["flow"]["cohort"] == {"in": 197, "excluded": [], "out": 197}
    counts = {n: (f["events"], f["competing"], f["out"]) for n, f in record["flow"]["endpoints"].items()}
    assert counts == {
        "recurrence_24m": (100, 0, 197),
        "recurrence": (131, 7, 197),
        "dfs": (138, 0, 197),
        "os": (107, 0, 197),
    }


@pytest.mark.parametrize(
    ("endpoint", "metric", "anchor"),
    [
        ("os", "c_index_whole", 0.605),
        ("dfs", "c_index_whole", 0.568),
        ("recurrence", "c_index_whole", 0.574),
        ("recurrence_24m", "auc_whole", 0.613),
    ],
)
def test_delivered_fong_score_meets_its_anchor(honest, endpoint, metric, anchor):
    found = estimate(honest, endpoint, "fong_score_reported", metric)
    assert found["n"] == 168
    assert found["estimate"] == pytest.approx(anchor, abs=0.005)


def test_models_are_honest(honest):
    for endpoint in ("recurrence", "dfs", "os"):
        assert 0.53 < estimate(honest, endpoint, "clinical/ridge", "c_index")["estimate"] < 0.66


def test_no_postoperative_or_outcome_column_is_used(honest):
    record = json.loads((honest / "run.json").read_text())
    schema = load_schema("clinical")
    for models in record["models"].values():
        assert len(models["clinical/ridge"]["columns"]) == 13
        for model in models.values():
            assert not [c for c in model["columns"] if is_later(schema.columns[c].available_at, "preoperative")]
    refused = {r["column"] for r in record["leak"]["refused"]["os"]}
    assert {"viable_tumour_pct", "steatosis", "rfs_months", "recurrence_any"} <= refused
    assert record["leak"]["admitted"] == {}


def test_the_leak_lifts_the_auc_and_the_card_warns(honest, leaking):
    assert 0.58 < estimate(honest, "recurrence_24m", "clinical/ridge", "auc")["estimate"] < 0.72
    assert estimate(leaking, "recurrence_24m", "clinical/ridge", "auc")["estimate"] > 0.85
    assert 'class="notice leak-warning"' in (leaking / "card.html").read_text()
    assert 'class="leak-warning"' not in (honest / "card.html").read_text()


def test_a_leaking_model_is_never_bundled(honest, leaking):
    assert not (leaking / "bundles").exists()
    assert sorted(p.name for p in (honest / "bundles").iterdir()) == ["dfs", "os", "recurrence", "recurrence_24m"]


def test_a_named_late_column_stops_the_run(shared_data, tmp_path, capsys):
    sets = {"clinical": {"title": "x", "columns": ["age_years", "viable_tumour_pct", "os_months"]}}
    file = experiment(tmp_path, feature_sets=sets, deliver={}, answer=None)
    assert run(["run", str(file), "--data", str(shared_data), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr().err
    assert "viable_tumour_pct is known only at postoperative, but the model speaks at preoperative" in shown
    assert "os_months is known only at outcome" in shown


def test_units_are_converted(shared_data):
    clinical = read_tcia_clinical(shared_data).clinical.set_index("patient_id")
    raw = pd.read_csv(shared_data / "tcia_crlm_clinical" / "clinical_april2023.csv").set_index("Patient-ID")
    size = (raw["max_tumor_size"] * 10).round(6).mask(raw["max_tumor_size"] == 0)
    pd.testing.assert_series_equal(clinical["largest_met_mm"], size.loc[clinical.index], check_names=False)
    assert clinical["sex"].value_counts().to_dict() == {
        "male": (raw["sex"] == 1).sum(),
        "female": (raw["sex"] == 2).sum(),
    }
    known = raw["total_response_percent"].loc[clinical.index].mask(lambda s: s == -999)
    assert (clinical["viable_tumour_pct"] + 100 * known - 100).abs().max() < 1e-9


def test_events_of_the_cohort(shared_data):
    clinical = read_tcia_clinical(shared_data).clinical
    events = {
        n: build_outcome(clinical, e, n).table["event"].value_counts().to_dict()
        for n, e in load_endpoints().items()
        if e.index_date == "liver operation"
    }
    assert events["os"] == {1: 107, 0: 90}
    assert events["dfs"] == {1: 138, 0: 59}
    assert events["recurrence"] == {1: 131, 0: 59, 2: 7}
    assert events["liver_recurrence"][2] == 41
    assert events["liver_recurrence_24m"] == events["liver_recurrence"]
    assert events["recurrence_6m"] == events["recurrence_36m"] == events["recurrence"]


def test_radiomics_are_joined_by_key_and_claim_nothing(shared_data, tmp_path):
    cohort = read_tcia_clinical(shared_data, radiomics=True)
    assert len(cohort.clinical) == 90
    assert {e.code for e in cohort.exclusions} == {"no_radiomics_row"}
    assert len(cohort.exclusions) == 107
    assert cohort.clinical["recurrence_any"].sum() == 31
    assert not cohort.clinical["os_event"].any()
    assert cohort.features_patient.shape == (90, 4 + 525)
    # By key, never by row order: a shuffled feature table joins alike.
    bench = pd.read_csv(shared_data / "radmlbench_crlm" / "Colorectal-Liver-Metastases.gz")
    folder = tmp_path / "data"
    folder.mkdir()
    bench.sample(frac=1, random_state=1).to_csv(folder / "features.csv.gz", index=False)
    (folder / "clinical.csv").write_bytes((shared_data / "tcia_crlm_clinical" / "clinical_april2023.csv").read_bytes())
    again = read_tcia_clinical(folder, radiomics=True).features_patient.sort_values("patient_id", ignore_index=True)
    pd.testing.assert_frame_equal(again, cohort.features_patient.sort_values("patient_id", ignore_index=True))


def test_two_versions_of_the_table_are_ambiguous(shared_data, tmp_path):
    source = (shared_data / "tcia_crlm_clinical" / "clinical_april2023.csv").read_text()
    (tmp_path / "a.csv").write_text(source)
    (tmp_path / "copy.csv").write_text(source)
    assert len(read_tcia_clinical(tmp_path).clinical) == 197
    (tmp_path / "b.csv").write_text(source.replace(",65,2,", ",66,2,", 1))
    with pytest.raises(InputError, match="several different versions.*got 2 files"):
        read_tcia_clinical(tmp_path)


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [("age", None, "does not fit its layout; expected columns age"), (None, "hospital", "unknown columns 'hospital'")],
)
def test_layout_refuses_other_columns(drop, add, message):
    layout = yaml.safe_load(resource("configs/layouts/tcia_crlm.yaml").read_text())
    columns = [c for c in [*layout["columns"], *layout["drop"]] if c != drop] + ([add] if add else [])
    with pytest.raises(InputError, match=message):
        apply_layout(pd.DataFrame({c: ["1"] for c in columns}), layout)


@pytest.mark.parametrize(("cell", "size"), [("1.1", 11.0), ("0.0", None), ("-999", None), ("5", 50.0)])
def test_centimetres(cell, size):
    layout = {
        "columns": {"max_tumor_size": [{"to": "largest_met_mm", "multiply": 10, "zero_is_missing": True}]},
        "drop": [],
    }
    text = apply_layout(pd.DataFrame({"max_tumor_size": [cell]}), layout)["largest_met_mm"][0]
    assert (text == "") if size is None else (float(text) == size)


def test_percent_signs_and_fractions_mean_the_same():
    layout = {"columns": {"x": [{"to": "total_response_pct", "multiply": 100}]}, "drop": []}
    texts = apply_layout(pd.DataFrame({"x": ["0.7", "70%", "70 %"]}), layout)["total_response_pct"]
    assert [float(t) for t in texts] == [70.0, 70.0, 70.0]
