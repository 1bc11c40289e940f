"""The cohort folder: reproducible to the byte, readable by the cohort reader, consistent across its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radiomics_crlm.cohort.clinical import Cohort, read_cohort_folder
from radiomics_crlm.imaging.geometry import check_same_geometry
from radiomics_crlm.imaging.masks import parse_roles
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.volume import read_volume
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.outcomes import simulate_outcomes
from radiomics_crlm.phantom.settings import SimulationConfig

SEED, PATIENTS = 77, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "cohort"
    simulate_cohort(SimulationConfig(patients=PATIENTS, seed=SEED), out)
    return out


@pytest.fixture(scope="module")
def cohort(folder: Path) -> Cohort:
    return read_cohort_folder(folder)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def scans(cohort: Cohort, role: str) -> pd.DataFrame:
    assert cohort.imaging is not None
    return cohort.imaging[cohort.imaging["mask_roles"].str.startswith(role)]


def test_same_seed_same_bytes_whatever_the_number_of_jobs(folder: Path, tmp_path: Path) -> None:
    ticks: list[tuple[int, int]] = []
    config = SimulationConfig(patients=PATIENTS, seed=SEED)
    result = simulate_cohort(config, tmp_path / "again", on_progress=lambda *tick: ticks.append(tick), jobs=2)
    assert digests(tmp_path / "again") == digests(folder)
    assert ticks == [(n, PATIENTS) for n in range(1, PATIENTS + 1)]
    assert result.images == len(list(result.folder.rglob("*_portal_venous.nii.gz"))) + len(
        list(result.folder.rglob("*_hbp.nii.gz"))
    )


def test_the_first_patients_are_those_of_a_larger_cohort(folder: Path, tmp_path: Path) -> None:
    simulate_cohort(SimulationConfig(patients=2, seed=SEED), tmp_path)
    few, many = digests(tmp_path / "images"), digests(folder / "images")
    assert few
    assert few.items() <= many.items()
    lines = (folder / "clinical.csv").read_text().splitlines()[:3]
    assert (tmp_path / "clinical.csv").read_text().splitlines() == lines


def test_another_seed_gives_other_patients(folder: Path, tmp_path: Path) -> None:
    simulate_cohort(SimulationConfig(patients=1, seed=SEED + 1), tmp_path)
    assert not set(digests(tmp_path / "images").values()) & set(digests(folder / "images").values())


def test_effects_change_the_outcome_but_not_the_first_images(folder: Path, tmp_path: Path) -> None:
    """The images always show the latent texture; whether it means anything is a matter of the outcome."""
    simulate_cohort(SimulationConfig(patients=3, seed=SEED, texture_effect=0.0, clinical_effect=0.0), tmp_path)
    first = {name: digest for name, digest in digests(tmp_path / "images").items() if "restaging" not in name}
    assert first.items() <= digests(folder / "images").items()
    truth = pd.read_csv(tmp_path / "truth_patients.csv")
    assert (truth["recurrence_lp"] == 0).all()


def test_the_reader_accepts_every_row_and_cell(cohort: Cohort) -> None:
    assert cohort.exclusions == ()
    assert len(cohort.clinical) == PATIENTS
    assert cohort.simulated
    assert set(scans(cohort, "lesion")["patient_id"]) == set(cohort.clinical["patient_id"])


def test_time_points_follow_the_course(cohort: Cohort) -> None:
    resectable = cohort.clinical.set_index("patient_id")["initially_resectable"]
    ct = scans(cohort, "lesion").query("modality == 'CT'")
    for patient_id, rows in ct.groupby("patient_id"):
        expected = {"preoperative"} if resectable[patient_id] else {"baseline", "restaging"}
        assert set(rows["timepoint"]) == expected
    first = ct[ct["timepoint"] != "restaging"]
    assert (first["study_day"] == 0).all()
    assert ct.loc[ct["timepoint"] == "restaging", "study_day"].between(45, 70).all()


def test_masks_lie_on_their_image_and_the_chart_agrees_with_them(cohort: Cohort) -> None:
    chart = cohort.clinical.set_index("patient_id")
    assert cohort.root is not None
    first = scans(cohort, "lesion").query("modality == 'CT' and timepoint != 'restaging'")
    for row in first.itertuples():
        image = read_volume(cohort.root / row.image, case=row.patient_id)
        lesions = read_volume(cohort.root / row.mask, case=row.patient_id)
        organs = read_volume(cohort.root / row.mask.replace("lesions", "anatomy"), case=row.patient_id)
        for mask in (lesions, organs):
            assert check_same_geometry(image, mask, case=row.patient_id)[1] == ()
        sizes = measure_lesions(lesions)
        cells = chart.loc[row.patient_id]
        assert len(sizes) == cells["n_liver_mets"]
        assert sizes["longest_axial_mm"].max() == pytest.approx(cells["largest_met_mm"], abs=0.06)
        assert sizes["volume_ml"].sum() == pytest.approx(cells["tumour_volume_ml"], abs=0.02)
        remnant = ((organs.array == 2) & (lesions.array == 0)).sum() * image.voxel_volume_ml
        assert remnant == pytest.approx(cells["flr_ml"], abs=0.1)
        ratio = 100 * cells["flr_ml"] / (cells["tlv_ml"] - cells["tumour_volume_ml"])
        assert ratio == pytest.approx(cells["sflr_pct"], abs=0.05)


def test_roles_are_those_of_the_contract(cohort: Cohort) -> None:
    assert cohort.imaging is not None
    found = [parse_roles(text, case="") for text in cohort.imaging["mask_roles"].unique()]
    roles = [{role: rule.labels for role, rule in rules.items()} for rules in found]
    assert sorted(roles, key=len) == [
        {"lesion": None},
        {"liver": (1, 2, 3, 4), "remnant": (2,), "hepatic_veins": (3,), "portal_vein": (4,)},
    ]


def test_redundant_columns_agree(cohort: Cohort) -> None:
    table = cohort.clinical
    days = (table["crlm_diagnosis_date"] - table["primary_diagnosis_date"]).dt.days
    assert np.allclose(days / 30.4375, table["dfi_months"], atol=0.006)
    assert (table["synchronous_crlm"] == (table["dfi_months"] == 0)).all()
    known = table.dropna(subset=["ras_status"])
    mutant = (known["kras_status"] == "mutant") | (known["nras_status"] == "mutant")
    assert ((known["ras_status"] == "mutant") == mutant).all()
    nodes = table.dropna(subset=["primary_pn_category"])
    assert (nodes["node_positive_primary"] == (nodes["primary_pn_category"] != "N0")).all()
    extra = table.dropna(subset=["extrahepatic_status"])
    assert (extra["extrahepatic_present"] == (extra["extrahepatic_status"] != "none")).all()
    margin = table.dropna(subset=["resection_margin_mm"])
    assert (margin["margin_positive"] == (margin["resection_margin_mm"] < 1)).all()


def test_the_never_resected_have_no_postoperative_facts(cohort: Cohort) -> None:
    table = cohort.clinical
    never = table[~table["complete_local_treatment"].astype(bool)]
    assert len(never) > 0
    assert not never["initially_resectable"].any()
    later = ["resection_margin_mm", "margin_positive", "vascular_invasion", "viable_tumour_pct"]
    outcome = [c for c in table.columns if c.startswith(("rfs", "liver_rfs", "recurrence"))]
    assert never[later + outcome].isna().all(axis=None)
    assert table.drop(never.index)[later + outcome].notna().all(axis=None)
    assert table["os_months"].notna().all()


def test_the_truth_is_that_of_the_fast_simulation(folder: Path) -> None:
    written = pd.read_csv(folder / "truth_patients.csv")
    fast = simulate_outcomes(SimulationConfig(patients=PATIENTS, seed=SEED))
    assert list(written.columns) == list(fast.columns)
    assert np.array_equal(written["texture"], fast["texture"])
    assert np.array_equal(written["os_months"], fast["os_months"])
    chart = pd.read_csv(folder / "clinical.csv")
    assert np.array_equal(chart["rfs_months"], fast["rfs_months"].astype(float), equal_nan=True)
    statement = json.loads((folder / "truth.json").read_text())
    assert statement["config"]["seed"] == SEED
    assert statement["recurrence_log_hazard_ratios"]["texture"] == SimulationConfig().texture_effect
    assert statement["conversion_log_odds_ratios"]["texture"] == -SimulationConfig().texture_effect


def test_the_chart_holds_nothing_of_the_truth(folder: Path) -> None:
    header = (folder / "clinical.csv").read_text().splitlines()[0].split(",")
    assert not {"texture", "recurrence_lp", "conversion_lp", "recurrence_24m_risk", "operation_day"} & set(header)
