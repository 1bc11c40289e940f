"""Rules of a cohort end to end: tables in blocks, bad cells rule by rule, and the public cohort."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.cli.app import run
from radiomics_crlm.clinical.table import default_rules
from radiomics_crlm.errors import InputError
from radiomics_crlm.provenance.tables import TableWriter, read_table, write_table
from radiomics_crlm.study import rules as stage
from radiomics_crlm.study.rules import compare_fong, patient_row, read_rules_input, rules_of_cohort

RAW = """patient_id,assessed_at,CEA,largest_met_cm,n_liver_mets,node_positive_primary,dfi_months,fong_score_reported
A,baseline,5,4.5,2,true,3,3
B,baseline,5000,0.4,0,true,-2,2
C,,,2,3,N9,,4
D,baseline,1,1,1,false,40,
D,baseline,1,1,1,false,40,
"""


COMPLETE = {"dfi_months": 3.0, "n_liver_mets": 1, "largest_met_mm": 9, "cea_ng_ml": 1, "node_positive_primary": False}


def _silent(stage_name: str, done: int, total: int) -> None:
    assert stage_name
    assert done <= total


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    folder = tmp_path / "cohort"
    folder.mkdir()
    (folder / "clinical.csv").write_text(RAW)
    return folder


def test_a_bad_cell_costs_the_rules_that_use_it(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", "run", str(cohort), "--out", str(tmp_path / "o")]) == 4
    table = read_table(tmp_path / "o" / "rules.parquet", "rules").set_index(["patient_id", "rule"])
    assert set(table.index.get_level_values(0)) == {"A", "B", "C"}
    assert table.loc[("A", "fong_crs"), "score"] == 3
    assert table.loc[("B", "fong_crs"), "reason"] == "n_liver_mets must be a whole number from 1 to 200 lesions"
    assert table.loc[("C", "fong_crs"), "reason"] == "node_positive_primary must be true or false"
    assert table.loc[("C", "tbs2018"), "status"] == "ok"
    assert table.loc[("B", "konopke2009"), "status"] == "invalid"
    assert table.loc[("B", "timing_eahpba2023"), "group"] == "synchronous"
    assert table.loc[("B", "timing_eahpba2023"), "warnings"] == "dfi_months:negative_set_to_0"
    assert set(table.loc[("B", "plato_fong"), "warnings"].split(";")) == {
        "cea_ng_ml:unit_suspected", "largest_met_mm:unit_suspected", "dfi_months:negative_set_to_0",
    }  # fmt: skip
    assert "chart_converted_from_cm(largest_met_mm)" in table.loc[("A", "fong_crs"), "sources"]
    exclusions = read_table(tmp_path / "o" / "exclusions.parquet", "exclusions")
    assert exclusions["code"].tolist() == ["duplicate_patient"]
    shown = capsys.readouterr().out
    assert "left out: 1 patients" in shown
    assert "delivered Fong score: in 1 of 1 patients within" in shown


def test_long_wide_and_text_agree(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    run(["rules", "run", str(cohort), "--out", str(out)])
    long, wide = read_table(out / "rules.parquet", "rules"), read_table(out / "rules_wide.parquet", "rules_wide")
    assert len(long) == len(wide) * len(default_rules())
    for column in ("status", "score", "group"):
        mine = long[long["rule"] == "fong_crs"].set_index("patient_id")[column]
        pd.testing.assert_series_equal(wide.set_index("patient_id")[f"fong_crs__{column}"], mine, check_names=False)
    again = pd.read_csv(out / "rules.csv", keep_default_na=False, dtype=str)
    assert again["status"].tolist() == long["status"].tolist()
    assert pd.read_csv(out / "rules_wide.csv").shape == wide.shape
    warnings = pd.read_csv(out / "warnings.csv").set_index("warning")
    assert warnings.loc["cea_ng_ml:unit_suspected", "patients"] == 1
    assert warnings["meaning"].str.len().min() > 10


def test_blocks_do_not_change_the_files(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    rules_of_cohort(cohort, tmp_path / "whole", rules=None, progress=_silent)
    one_by_one = clinical.evaluate_blocks
    monkeypatch.setattr(
        stage.rule_engine,
        "evaluate_blocks",
        lambda table, rules, sources: one_by_one(table, rules, sources=sources, size=1),
    )
    rules_of_cohort(cohort, tmp_path / "blocks", rules=None, progress=lambda *step: seen.append(step))
    for name in ("rules", "rules_wide"):
        whole, blocks = (read_table(tmp_path / k / f"{name}.parquet", name) for k in ("whole", "blocks"))
        pd.testing.assert_frame_equal(whole, blocks)
        assert (tmp_path / "whole" / f"{name}.csv").read_bytes() == (tmp_path / "blocks" / f"{name}.csv").read_bytes()
    assert seen == [("rules", done, 3) for done in range(4)]


def test_the_same_input_gives_the_same_bytes(cohort: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        rules_of_cohort(cohort, tmp_path / name, rules=["fong_crs"], progress=_silent)
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_after_an_error_no_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "rules.parquet"
    with pytest.raises(InputError, match="breaks its schema"), TableWriter(path, "rules") as writer:
        writer.write(pd.DataFrame({"patient_id": ["a"], "rule": ["x"], "status": ["perhaps"]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reported", "inputs", "agreement"),
    [
        (2, {"dfi_months": 3.0, "n_liver_mets": 2}, "within_bounds"),
        (5, {"dfi_months": 3.0, "n_liver_mets": 1}, "above_bounds"),
        (0, {"dfi_months": 3.0, "n_liver_mets": 2}, "below_bounds"),
        (None, {"dfi_months": 3.0}, "not_reported"),
        (3, {"dfi_months": "x"}, "not_computed"),
        (1, COMPLETE, "equal"),
        (2, COMPLETE, "above_bounds"),
    ],
)  # fmt: skip
def test_the_delivered_score_beside_the_bounds(reported: int | None, inputs: dict[str, object], agreement: str) -> None:
    table = pd.DataFrame(
        {"patient_id": ["a"], "fong_score_reported": [reported], **{k: [v] for k, v in inputs.items()}}
    )
    assert compare_fong(table)["agreement"].tolist() == [agreement]


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (["--layout", "excel"], 2, "unknown layout; expected auto, canonical, tcia-crlm"),
    (["--rule", "fong"], 2, "unknown rule"),
    (["--layout", "tcia-crlm"], 3, "clinical table of TCIA"),
])  # fmt: skip
def test_wrong_calls_of_rules_run(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(["rules", "run", str(cohort), "--out", str(tmp_path / "o"), *arguments]) == code
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize("form", ["folder", "table", "named"])
def test_the_public_cohort_end_to_end(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    folder = shared_data / "tcia_crlm_clinical"
    if not (folder / "clinical_april2023.csv").is_file():
        pytest.skip("the TCIA clinical table is absent")
    source = folder if form != "table" else folder / "clinical_april2023.csv"
    layout = ["--layout", "tcia-crlm"] if form == "named" else []
    assert run(["rules", "run", str(source), "--out", str(tmp_path), *layout]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "delivered Fong score: in 133 of 168 patients within what the other columns allow, in 35 not" in shown
    assert "29 without a delivered score" in shown
    table = read_table(tmp_path / "rules.parquet", "rules")
    assert table["patient_id"].nunique() == 197
    assert len(table) == 197 * len(default_rules())
    assert not (table["status"] == "invalid").any()
    # Whoever cannot be assessed says why.
    waiting = table[table["status"] == "not_assessable"]
    assert len(waiting) > 10_000
    assert waiting["missing"].notna().all()
    assert table["sources"].dropna().str.contains(r"chart_converted_from_cm\(largest_met_mm\)").any()
    fong = read_table(tmp_path / "fong_reported_vs_bounds.parquet", "fong_reported_vs_bounds")
    raw = pd.read_csv(folder / "clinical_april2023.csv").set_index("Patient-ID")["clinrisk_score"]
    known = fong.set_index("patient_id")["reported"]
    assert known.isna().sum() == (raw == -999).sum() == 29
    pd.testing.assert_series_equal(
        known.dropna().astype(int), raw[raw != -999].astype(int), check_names=False, check_index_type=False
    )
    assert fong["agreement"].value_counts().to_dict() == {
        "within_bounds": 70, "equal": 63, "not_reported": 29, "above_bounds": 26, "below_bounds": 9,
    }  # fmt: skip


def test_bounds_of_the_public_cohort_against_an_independent_sum(shared_data: Path) -> None:
    """Lower and upper Fong score from the raw columns, without the rules."""
    path = shared_data / "tcia_crlm_clinical" / "clinical_april2023.csv"
    if not path.is_file():
        pytest.skip("the TCIA clinical table is absent")
    raw = pd.read_csv(path).set_index("Patient-ID").replace(-999, float("nan"))
    size = raw["max_tumor_size"].mask(raw["max_tumor_size"] == 0)
    items = pd.DataFrame(
        {
            "nodes": raw["node_positive_primary"],
            "interval": raw["synchronous_crlm"].where(raw["synchronous_crlm"] == 1),
            "number": raw["multiple_metastases"],
            "size": (size > 5).astype(float).where(size.notna()),
            "cea": (raw["carcinoembryonic_antigen"] > 200).astype(float).where(raw["carcinoembryonic_antigen"].notna()),
        }
    )
    rows = read_rules_input(path)
    got = compare_fong(rows.table).set_index("patient_id")
    lower, upper = got["lower"].fillna(got["computed"]), got["upper"].fillna(got["computed"])
    pd.testing.assert_series_equal(lower, items.fillna(0).sum(axis=1).loc[got.index], check_names=False)
    pd.testing.assert_series_equal(upper, items.fillna(1).sum(axis=1).loc[got.index], check_names=False)


def test_masks_fill_gaps_of_the_chart_and_nothing_else(cohort: Path, tmp_path: Path) -> None:
    rows = [("A", "n_liver_mets", "masks", 9.0), ("A", "tlv_ml", "masks", 1500.0), ("C", "sflr_pct", "unknown", None)]
    table = pd.DataFrame(rows, columns=["patient_id", "input", "source", "value"]).assign(timepoint="baseline")
    write_table(table, tmp_path / "m" / "rule_inputs.parquet", "rule_inputs")
    out = tmp_path / "o"
    rules_of_cohort(cohort, out, rules=["fong_crs", "sflr"], masks=tmp_path / "m", progress=_silent)
    got = read_table(out / "rules.parquet", "rules").set_index(["patient_id", "rule"])
    assert got.loc[("A", "fong_crs"), "score"] == 3
    assert got.loc[("A", "fong_crs"), "sources"] == "chart;chart_converted_from_cm(largest_met_mm)"
    assert got.loc[("A", "sflr"), "sources"] == "masks(tlv_ml)"
    assert got.loc[("A", "sflr"), "missing"] == "flr_ml;tumour_volume_ml"
    assert pd.isna(got.loc[("C", "sflr"), "sources"])
    row, origins = patient_row(cohort, "A", masks=tmp_path / "m")
    assert (row["tlv_ml"], origins["tlv_ml"], row["n_liver_mets"]) == (1500.0, "masks", 2)
    with pytest.raises(InputError, match="is missing"):
        rules_of_cohort(cohort, out, rules=None, masks=tmp_path, progress=_silent)
