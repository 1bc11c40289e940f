"""`crlm view` and `crlm response` on cohort folders: simulated ones, and one made of real scans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from solids import Point, Scene

from radiomics_crlm.cli.app import run
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.scan import ScanFiles
from radiomics_crlm.imaging.volume import write_volume
from radiomics_crlm.phantom.cohort import simulate_cohort
from radiomics_crlm.phantom.settings import SimulationConfig
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.study.crosscheck import cross_check_cohort
from radiomics_crlm.study.measure import measure_cohort
from radiomics_crlm.study.response import courses_of, response_of_cohort
from radiomics_crlm.study.view import view_cohort


def quiet(stage: str, done: int, total: int) -> None:
    """A progress callback that says nothing."""
    del stage, done, total


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_cohort(SimulationConfig(patients=4), folder)
    return folder


def test_response_agrees_with_the_simulated_charts(simulated: Path, tmp_path: Path) -> None:
    """The simulated reader measured the same masks: sums, volumes and category must be those of the chart."""
    found = response_of_cohort(simulated, tmp_path, progress=quiet)
    charts = pd.read_csv(simulated / "clinical.csv").set_index("patient_id")
    assert len(found.response) == charts["current_sum_mm"].notna().sum() > 0
    assert not found.exclusions
    for row in found.response.to_dict("records"):
        chart = charts.loc[row["patient_id"]]
        assert row["baseline_sum_mm"] == pytest.approx(chart["baseline_sum_mm"], abs=0.06)
        assert row["current_sum_mm"] == pytest.approx(chart["current_sum_mm"], abs=0.06)
        assert row["ttv_baseline_ml"] == pytest.approx(chart["ttv_baseline_ml"], abs=0.006)
        assert row["ttv_current_ml"] == pytest.approx(chart["ttv_current_ml"], abs=0.006)
        assert row["recist"] == chart["best_response"]
        assert row["n_new"] == 0
        assert row["alignment"] == "livers"
        assert row["liver_dice"] == pytest.approx(1.0)
        assert row["weeks_from"] == "chart"
        assert row["delta__total_volume_ml"] == pytest.approx(row["ttv_current_ml"] - row["ttv_baseline_ml"])
    lesions = read_table(tmp_path / "response_lesions.parquet", "response_lesions")
    assert lesions.groupby("patient_id")["volume_before_ml"].sum().tolist() == pytest.approx(
        found.response.sort_values("patient_id")["ttv_baseline_ml"].tolist()
    )


def test_view_shows_every_patient(simulated: Path, tmp_path: Path) -> None:
    one = view_cohort(simulated, tmp_path / "a", progress=quiet)
    other = view_cohort(simulated, tmp_path / "b", jobs=2, progress=quiet)
    assert one.patients == 4
    assert sum(one.verdicts.values()) == 4
    assert len(list((tmp_path / "a" / "sheets").glob("*.png"))) == 4
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name
    assert other.verdicts == one.verdicts
    page = one.page.read_text()
    assert all(f"SIM-000{k}" in page for k in range(1, 5))
    checked = read_table(tmp_path / "a" / "crosscheck.parquet", "crosscheck")
    assert len(checked) == 12
    assert set(checked.loc[checked["item"] != "bilobar", "verdict"]) == {"agree"}
    assert set(checked.loc[checked["item"] == "bilobar", "verdict"]) == {"masks_missing"}
    quality = read_table(tmp_path / "a" / "quality.parquet", "quality")
    assert (quality.loc[quality["check"] == "phase", "verdict"] == "pass").all()


def write_cohort(folder: Path, charts: str, scans: Iterable[tuple[str, str, int | None, Volume, str]]) -> Path:
    """A cohort folder of CT scans: patient, time point, day, lesion mask, text of the roles."""
    (folder / "clinical.csv").write_text(charts)
    rows = []
    for number, (patient, timepoint, day, mask, roles) in enumerate(scans):
        image = Volume(np.full(mask.array.shape, 110, dtype=np.int16), mask.spacing, mask.origin, mask.direction)
        write_volume(image, folder / f"i{number}.nii.gz")
        write_volume(mask, folder / f"m{number}.nii.gz")
        row = {"patient_id": patient, "timepoint": timepoint, "modality": "CT", "sequence": "portal_venous"}
        rows.append(
            {**row, "image": f"i{number}.nii.gz", "mask": f"m{number}.nii.gz", "mask_roles": roles, "study_day": day}
        )
    pd.DataFrame(rows).to_csv(folder / "imaging.csv", index=False)
    return folder


SCENE = Scene((120, 80, 60), (2.0, 2.0, 3.0))
LIVER, LEFT, RIGHT, UP = SCENE.ellipsoid((55, 36, 27)), (-25.0, 0.0, 0.0), (25.0, 0.0, 0.0), (0.0, 15.0, 6.0)


def masked(*spheres: tuple[float, Point]) -> Volume:
    """Liver as label 1, the lesions from label 2 on."""
    lesions = SCENE.labels(*(SCENE.sphere(r, c) for r, c in spheres)).array
    return SCENE.volume(np.where(lesions > 0, lesions + 1, LIVER).astype(np.int16))


def test_three_scans_use_the_nadir(tmp_path: Path) -> None:
    """40 mm, 24 mm, 32 mm: partial response, then progression from the nadir though still below the start."""
    roles = "lesion=2;liver=1,2"
    cohort = write_cohort(
        tmp_path,
        "patient_id,chemo_cycles,n_liver_mets\nA,6,1\n",
        [
            ("A", "preoperative", 120, masked((16, LEFT)), roles),
            ("A", "baseline", 0, masked((20, LEFT)), roles),
            ("A", "restaging", 49, masked((12, LEFT)), roles),
        ],
    )
    table = response_of_cohort(cohort, tmp_path / "out", progress=quiet).response
    assert table["timepoint"].tolist() == ["restaging", "preoperative"]
    assert table["recist"].tolist() == ["PR", "PD"]
    assert table["days"].tolist() == [49, 120]
    assert table["early_shrinkage_met"].tolist() == [True, pd.NA]
    assert table["weeks_from"].tolist() == ["study_days", "study_days"]
    assert table["nadir_sum_mm"].tolist() == pytest.approx([40, 24], abs=2)
    assert table["depth_pct"].tolist() == pytest.approx([40, 40], abs=4)
    assert table["dlm_relative_odds"].tolist() == [1.0, 1.0]


def test_new_and_vanished_lesions_are_reported(tmp_path: Path) -> None:
    cohort = write_cohort(
        tmp_path,
        "patient_id,chemo_cycles\nA,8\n",
        [
            ("A", "baseline", None, masked((12, LEFT), (7, RIGHT)), "lesion=2,3;liver=1,2,3"),
            ("A", "restaging", None, masked((9, LEFT), (6, UP)), "lesion=2,3;liver=1,2,3"),
        ],
    )
    found = response_of_cohort(cohort, tmp_path / "out", progress=quiet)
    row = found.response.iloc[0]
    assert (row["n_matched"], row["n_new"], row["n_disappeared"]) == (1, 1, 1)
    assert row["recist"] == "PD"
    assert row["dlm_status"] == "candidate_mri_needed"
    assert row["dlm_relative_odds"] == pytest.approx(1.18**2)
    assert "order_by_timepoint" in row["flags"]
    assert pd.isna(row["early_shrinkage_pct"])
    assert found.lesions["fate"].tolist() == ["matched", "disappeared", "new"]
    assert found.lesions["target"].tolist() == [True, True, False]


def test_a_complete_response_has_to_be_said(tmp_path: Path) -> None:
    """An empty mask may be a lost one, so the manifest must state that nothing is left."""
    nothing = SCENE.volume(np.zeros(SCENE.shape, dtype=np.int16))
    scans: list[tuple[str, str, int | None, Volume, str]] = [
        ("A", "baseline", 0, masked((12, LEFT), (7, RIGHT)), "lesion=2,3;liver=1,2,3"),
        ("A", "restaging", 56, masked(), "lesion=none;liver=1"),
        ("A", "preoperative", 90, nothing, "lesion=none"),
    ]
    cohort = write_cohort(tmp_path, "patient_id\nA\n", scans)
    found = response_of_cohort(cohort, tmp_path / "out", progress=quiet)
    assert found.response["recist"].tolist() == ["CR", "CR"]
    assert found.response["n_disappeared"].tolist() == [2, 2]
    assert found.response["ttv_change_pct"].tolist() == [-100.0, -100.0]
    assert found.response["alignment"].tolist() == ["livers", "scanner"]
    assert found.response["dlm_status"].tolist() == ["candidate_mri_needed"] * 2
    assert not found.exclusions
    page = view_cohort(cohort, tmp_path / "view", progress=quiet)
    assert page.patients == 1
    assert not page.exclusions
    write_cohort(tmp_path, "patient_id\nA\n", [scans[0], ("A", "restaging", 56, nothing, "lesion=*")])
    refused = response_of_cohort(cohort, tmp_path / "again", progress=quiet)
    assert [e.code for e in refused.exclusions] == ["empty_mask"]
    assert not len(refused.response)


def test_measure_fills_gaps_of_the_chart_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    charts = "patient_id,n_liver_mets,largest_met_mm,bilobar\nA,3,,\nB,2,24,true\nC,,,\n"
    write_cohort(
        folder,
        charts,
        [
            ("A", "baseline", 0, masked((12, LEFT), (7, RIGHT)), "lesion=2,3;liver=1,2,3;remnant=1"),
            ("B", "baseline", 0, masked((12, LEFT), (7, RIGHT)), "lesion=2,3;liver=1,2,3"),
        ],
    )
    out = tmp_path / "out"
    assert run(["measure", str(folder), "--out", str(out), "--ring", "6", "--jobs", "1"]) == 0
    lesions = read_table(out / "measurements.parquet", "measurements")
    assert lesions["ring_mm"].tolist() == [6.0] * 4
    assert lesions["surface_mm"].notna().all()
    assert lesions["portal_vein_mm"].isna().all()
    sources = read_table(out / "rule_inputs.parquet", "rule_inputs").set_index(["patient_id", "input"])
    assert sources.loc[("A", "n_liver_mets"), "source"] == "chart"
    assert sources.loc[("A", "n_liver_mets"), "value"] == 3
    assert sources.loc[("A", "largest_met_mm"), "source"] == "masks"
    assert sources.loc[("A", "largest_met_mm"), "value"] == pytest.approx(24, abs=2)
    assert sources.loc[("A", "sflr_pct"), "source"] == "masks"
    assert set(sources.loc["B"].loc[["n_liver_mets", "largest_met_mm", "bilobar"], "source"]) == {"chart"}
    assert set(sources.loc["C", "source"]) == {"unknown"}
    # A liver of 220 ml lies within what a chart may hold; one of 100 ml would not be filled in.
    rules = read_table(out / "rules.parquet", "rules").set_index(["patient_id", "rule"])
    burden = rules.loc[("A", "tbs2018")]
    assert burden["score"] == pytest.approx(np.hypot(sources.loc[("A", "largest_met_mm"), "value"] / 10, 3))
    assert "largest_met_mm" in burden["sources"]
    assert "masks" in burden["sources"]
    assert "masks" not in rules.loc[("B", "tbs2018"), "sources"]
    checked = read_table(out / "crosscheck.parquet", "crosscheck").set_index(["patient_id", "item"])["verdict"]
    assert checked[("A", "n_liver_mets")] == "disagree"
    assert checked[("B", "largest_met_mm")] == "agree"
    assert checked[("C", "n_liver_mets")] == "masks_missing"


def test_what_a_chart_cannot_hold_is_not_filled_in(tmp_path: Path) -> None:
    nothing = SCENE.volume(np.zeros(SCENE.shape, dtype=np.int16))
    cohort = write_cohort(tmp_path, "patient_id\nA\n", [("A", "baseline", 0, nothing, "lesion=none")])
    found = measure_cohort(cohort, tmp_path / "out", progress=quiet)
    sources = found.rule_inputs.set_index("input")
    assert sources.loc["n_liver_mets", "source"] == "unknown"
    assert sources.loc["tumour_volume_ml", "value"] == 0.0
    assert not len(found.lesions)
    with pytest.raises(ConfigError, match="ring and rim must be positive"):
        measure_cohort(cohort, tmp_path / "out", ring_mm=0, progress=quiet)


def test_deltas_of_features(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    roles = "lesion=2,3;liver=1,2,3"
    before, after = masked((12, LEFT), (7, RIGHT)), masked((9, LEFT), (8, RIGHT))
    write_cohort(folder, "patient_id\nA\n", [("A", "baseline", 0, before, roles), ("A", "restaging", 60, after, roles)])
    out = [str(tmp_path / name) for name in ("features", "response")]
    assert run(["extract", str(folder), "--out", out[0], "--profile", "ct-portal-venous-native", "--jobs", "1"]) == 0
    assert run(["response", str(folder), "--out", out[1], "--features", out[0], "--jobs", "1"]) == 0
    table = read_table(Path(out[1]) / "deltas.parquet", "deltas").iloc[0]
    features = read_table(Path(out[0]) / "features_patient.parquet", "features_patient").set_index("timepoint")
    for name in ("largest__original_shape_Sphericity", "burden__largest_axial_mm", "burden__n_lesions"):
        assert table[f"delta__{name}"] == pytest.approx(
            features.loc["restaging", name] - features.loc["baseline", name]
        )
    assert table["delta__burden__largest_axial_mm"] == pytest.approx(-6, abs=2)
    assert read_table(Path(out[0]) / "quality.parquet", "quality")["check"].eq("phase").sum() == 2


def test_a_scan_that_cannot_be_read_is_an_exclusion_on_the_page(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    cohort = write_cohort(
        folder,
        "patient_id,n_liver_mets\nA,5\nB,1\n",
        [
            ("A", "baseline", 0, masked((12, LEFT)), "lesion=2;liver=1,2"),
            ("A", "restaging", 60, masked((12, LEFT)), "lesion=9"),
            ("B", "baseline", 0, masked((12, LEFT)), "lesion=2"),
        ],
    )
    (cohort / "i2.nii.gz").write_bytes(b"broken")
    assert run(["view", str(cohort), "--out", str(tmp_path / "v")]) == 4
    assert run(["response", str(cohort), "--out", str(tmp_path / "r")]) == 4
    screen = capfd.readouterr().out
    assert "2 values compared" in screen or "1 values compared" in screen
    assert "comparisons: 0" in screen
    page = (tmp_path / "v" / "index.html").read_text()
    assert "unreadable image" in page
    assert "no lesion label" in page
    assert "1 by the masks, 5 in the chart" in page
    excluded = read_table(tmp_path / "v" / "exclusions.parquet", "exclusions")
    assert sorted(excluded["code"]) == ["no_lesion_label", "unreadable_image"]


def test_the_contrast_delay_of_the_manifest_survives_ingest_and_is_graded(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    roles = "lesion=2;liver=1,2"
    scans = [("A", "baseline", 0, masked((12, LEFT)), roles), ("A", "restaging", 60, masked((9, LEFT)), roles)]
    write_cohort(folder, "patient_id\nA\n", scans)
    table = pd.read_csv(folder / "imaging.csv").assign(contrast_delay_s=[70.0, 30.0])
    table.to_csv(folder / "imaging.csv", index=False)
    assert run(["ingest", str(folder), "--out", str(tmp_path / "in")]) == 0
    found = view_cohort(tmp_path / "in", tmp_path / "view", progress=quiet).quality
    phase = found[found["check"] == "phase"].set_index("timepoint")
    assert phase["verdict"].to_dict() == {"baseline": "pass", "restaging": "fail"}
    assert phase.loc["restaging", "reason"] == "delay 30 s"


def test_unusable_cohorts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "clinical.csv").write_text("patient_id\nA\n")
    for call in (view_cohort, response_of_cohort):
        with pytest.raises(InputError, match="no imaging manifest"):
            call(tmp_path, tmp_path / "out", progress=quiet)
    with pytest.raises(ConfigError, match="at least one target"):
        response_of_cohort(tmp_path, tmp_path / "out", max_targets=0, progress=quiet)


def test_courses_are_ordered_by_day_or_by_time_point() -> None:
    def scan(timepoint: str, day: int | None, sequence: str = "portal_venous") -> ScanFiles:
        return ScanFiles(("A", timepoint, "CT", sequence), ("i",), (("m", "lesion=*"),), ("",), day)

    by_day = courses_of([scan("preoperative", 10), scan("baseline", 30), scan("restaging", 20)])
    assert [s.study_day for s in by_day[0]] == [10, 20, 30]
    by_moment = courses_of([scan("preoperative", None), scan("baseline", 30), scan("restaging", 20)])
    assert [s.key[1] for s in by_moment[0]] == ["baseline", "restaging", "preoperative"]
    assert courses_of([scan("baseline", 0), scan("restaging", 9, "arterial")]) == []


@pytest.mark.parametrize(
    ("assessed", "timepoint"),
    [
        ("baseline", "baseline"),
        ("after_chemotherapy", "restaging"),
        ("before_operation", "preoperative"),
        (None, "baseline"),
        ("pathology", None),
    ],
)
def test_a_chart_is_compared_with_the_scan_of_its_moment(assessed: str | None, timepoint: str | None) -> None:
    base = dict.fromkeys(
        ["bilobar", "liver_volume_ml", "remnant_volume_ml", "sflr_pct", "closest_portal_vein_mm",
         "closest_hepatic_vein_mm", "closest_surface_mm"])  # fmt: skip
    base |= {"patient_id": "A", "largest_axial_mm": 20.0, "total_volume_ml": 3.0, "tbs": 2.0}
    scans = [
        {**base, "timepoint": t, "modality": m, "sequence": s, "n_lesions": n}
        for n, (t, m, s) in enumerate(
            [
                ("preoperative", "CT", "portal_venous"),
                ("baseline", "CT", "arterial"),
                ("baseline", "CT", "portal_venous"),
                ("baseline", "MR", "hbp"),
                ("restaging", "CT", "portal_venous"),
            ],
            start=1,
        )
    ]
    charts = pd.DataFrame([{"patient_id": "A", "assessed_at": assessed, "n_liver_mets": 3}])
    row = cross_check_cohort(pd.DataFrame(scans), charts).iloc[0]
    if timepoint is None:
        assert row["verdict"] == "masks_missing"
        assert row["timepoint"] is None
    else:
        assert row["timepoint"] == timepoint
        assert row["sequence"] == "portal_venous"
        assert row["verdict"] == ("agree" if timepoint == "baseline" else "disagree")
