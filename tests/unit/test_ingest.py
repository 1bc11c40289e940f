"""Ingest: study days without dates, a public collection as downloaded, rules of the manifest, keys that are paths."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_examples import Series, image_slices, save_all, save_one, segmentation, structure_set, uid

from radiomics_crlm.cli.app import run
from radiomics_crlm.config import read_yaml
from radiomics_crlm.errors import ConfigError, InputError
from radiomics_crlm.imaging.volume import Volume, read_volume, write_volume
from radiomics_crlm.provenance.tables import read_table
from radiomics_crlm.resources import resource
from radiomics_crlm.study.collection import ingest_collection
from radiomics_crlm.study.ingest import IngestResult, ScanRow, ingest_rows, one_scan

SHAPE = (6, 16, 16)


def silent(stage: str, done: int, total: int) -> None:
    """No progress display."""


def box(*bounds: slice | int) -> np.ndarray:
    inside = np.zeros(SHAPE, dtype=bool)
    inside[bounds] = True
    return inside


def expert(tumours: int) -> dict[str, np.ndarray]:
    """The segments of an expert segmentation, with names as in the collection."""
    masks = {
        "Liver": box(slice(1, 5), slice(2, 14), slice(2, 14)),
        "Liver Remnant": box(slice(1, 5), slice(2, 14), slice(8, 14)),
        "Hepatic": box(2, slice(3, 12), 9),
        "Portal": box(3, 9, slice(3, 12)),
    }
    for k in range(tumours):
        masks[f"Tumor_{k + 1}"] = box(slice(1 + k, 3 + k), slice(3 + 3 * k, 5 + 3 * k), slice(3, 6))
    return masks


def download(root: Path, patient: str, *, tumours: int = 1, sets: tuple[str, ...] = ("expert", "ai")) -> Path:
    """Folders of one patient as the Imaging Data Commons lays them out."""
    series = Series(patient=patient, description="PORTAL", date="19930405")
    slices = image_slices(np.random.default_rng(3).integers(0, 200, SHAPE), series)
    study = root / "colorectal_liver_metastases" / patient / slices[0].StudyInstanceUID
    save_all(study / f"CT_{series.uid}", slices)
    masks = expert(tumours)
    if "expert" in sets:
        save_one(study / "SEG_1" / "a.dcm", segmentation(slices, masks, number=100))
    if "ai" in sets:
        found = {"Liver": masks["Liver"], "Tumor": masks["Tumor_1"] | box(4, slice(10, 12), slice(10, 12))}
        one = segmentation(slices, found, number=300, description="AIMI liver-tumor AI segmentation")
        save_one(study / "SEG_2" / "a.dcm", one)
    return study


def chart(patients: list[str]) -> pd.DataFrame:
    """A clinical table with the headers of the collection."""
    layout = read_yaml(resource("configs/layouts/tcia_crlm.yaml"))
    rows = pd.DataFrame({name: ["-999"] * len(patients) for name in [*layout["columns"], *layout["drop"]]})
    return rows.assign(**{"Patient-ID": patients, "age": "60", "sex": "1", "vital_status": "0"})


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    root = tmp_path / "download"
    for k, patient in enumerate(["CRLM-CT-1001", "CRLM-CT-1002", "CRLM-CT-1003"]):
        download(root, patient, tumours=k + 1)
    return root


def ingest(root: Path, out: Path, mask_set: str = "expert") -> IngestResult:
    return ingest_collection(root, "tcia-crlm", mask_set, out, progress=silent)


def test_a_downloaded_collection(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["ingest", str(collection), "--layout", "tcia-crlm", "--out", str(out)]) == 0
    assert "scans: 3, lesions: 6" in capsys.readouterr().out
    lesions = read_table(out / "lesions.parquet", "lesions")
    assert lesions.groupby("patient_id")["lesion"].agg(list).to_dict() == {
        "CRLM-CT-1001": [5],
        "CRLM-CT-1002": [5, 6],
        "CRLM-CT-1003": [5, 6, 7],
    }
    assert set(lesions["timepoint"] + lesions["modality"] + lesions["sequence"]) == {"preoperativeCTportal_venous"}
    manifest = read_table(out / "imaging.parquet", "imaging")
    assert len(manifest) == 6
    assert manifest["study_day"].tolist() == [0] * 6
    anatomy = manifest[manifest["mask_roles"].str.startswith("liver=")].iloc[2]
    labels, roles = (
        read_volume(out / anatomy["mask"], case="x"),
        dict(part.split("=") for part in anatomy["mask_roles"].split(";")),
    )
    names = {"liver": "Liver", "remnant": "Liver Remnant", "hepatic_veins": "Hepatic", "portal_vein": "Portal"}
    for role, name in names.items():
        found = np.isin(labels.array, [int(n) for n in roles[role].split(",")])
        np.testing.assert_array_equal(found, expert(3)[name], err_msg=role)
    assert not (out / "clinical.parquet").exists()


def test_mask_sets_are_named(collection: Path, tmp_path: Path) -> None:
    result = ingest(collection, tmp_path / "ai", "ai")
    assert result.exclusions == ()
    assert result.lesions.groupby("patient_id")["lesion"].agg(list).tolist() == [[1, 2]] * 3  # connected parts
    assert sorted(result.lesions["n_voxels"].unique()) == [4, 12]
    corrected = ingest(collection, tmp_path / "corrected", "corrected")
    assert [e.code for e in corrected.exclusions] == ["no_mask"] * 3
    with pytest.raises(ConfigError, match="expected expert, ai, corrected; got 'best'"):
        ingest(collection, tmp_path / "x", "best")
    with pytest.raises(ConfigError, match="unknown layout; expected tcia-crlm"):
        ingest_collection(collection, "lits", "expert", tmp_path / "x", progress=silent)


def test_every_patient_without_a_pair_has_a_reason(collection: Path, tmp_path: Path) -> None:
    root = collection
    download(root, "CRLM-CT-1004", sets=("ai",))
    twice = download(root, "CRLM-CT-1005")
    slices = image_slices(np.zeros(SHAPE, int), Series(patient="CRLM-CT-1005", date="19930405"))
    save_one(twice / "SEG_3" / "a.dcm", segmentation(slices, expert(1), number=101))
    strange = download(root, "CRLM-CT-1006", sets=())
    slices = image_slices(np.zeros(SHAPE, int), Series(patient="CRLM-CT-1006", date="19930405"))
    save_one(strange / "SEG_1" / "a.dcm", segmentation(slices, {"Liver": expert(1)["Liver"]}))
    cut = download(root, "CRLM-CT-1007")
    for path in sorted(next(cut.glob("CT_*")).iterdir())[:1]:
        path.unlink()
    chart([f"CRLM-CT-{k}" for k in (1001, 1002, 1004, 1005, 1006, 1007, 1008)]).to_csv(root / "c.csv", index=False)
    result = ingest(root, tmp_path / "out")
    reasons = {e.patient_id: e.code for e in result.exclusions}
    assert reasons == {
        "CRLM-CT-1003": "unknown_patient",
        "CRLM-CT-1004": "no_mask",
        "CRLM-CT-1005": "ambiguous_mask",
        "CRLM-CT-1006": "unknown_segment",
        "CRLM-CT-1007": reasons["CRLM-CT-1007"],
        "CRLM-CT-1008": "no_mask",
    }
    assert reasons["CRLM-CT-1007"] in ("missing_slices", "mask_outside_image", "geometry_mismatch")
    (listed,) = [e.reason for e in result.exclusions if e.patient_id == "CRLM-CT-1006"]
    assert "got 1 'Liver'" in listed
    assert result.scans == 2
    clinical = read_table(tmp_path / "out" / "clinical.parquet", "clinical")
    assert len(clinical) == 7
    with pytest.raises(InputError, match="no DICOM image series"):
        ingest(tmp_path / "out", tmp_path / "nothing")


def test_days_between_the_scans_of_a_patient(tmp_path: Path) -> None:
    """One patient with three dates, one whose days are given, one without DICOM: differences only, no date."""
    rows = []
    for k, (patient, timepoint, date) in enumerate(
        [
            ("A", "restaging", "19600413"),
            ("A", "baseline", "19591209"),
            ("A", "preoperative", "19600414"),
            ("B", "baseline", "20010101"),
            ("B", "restaging", "20010201"),
        ]
    ):
        series = Series(patient=patient, study=str(k), date=date)
        slices = image_slices(np.random.default_rng(k).integers(0, 99, SHAPE), series)
        image = save_all(tmp_path / f"{k}", slices)
        mask = save_one(tmp_path / f"{k}.dcm", segmentation(slices, {"T": box(2, slice(3, 6), slice(3, 6))}))
        day = {3: 10, 4: None}.get(k)
        rows.append(ScanRow(patient, timepoint, "CT", "portal_venous", str(image), str(mask), "lesion=*", day))
    plain = read_volume(tmp_path / "0", case="x")
    write_volume(plain, tmp_path / "i.nii.gz")
    write_volume(
        Volume(box(2, 3, 3).astype(np.uint8), plain.spacing, plain.origin, plain.direction), tmp_path / "m.nii.gz"
    )
    files = [str(tmp_path / name) for name in ("i.nii.gz", "m.nii.gz")]
    rows.append(ScanRow("C", "baseline", "CT", "portal_venous", *files, "lesion=*"))
    out = tmp_path / "out"
    ingest_rows(rows, (), out, progress=silent)
    days = read_table(out / "imaging.parquet", "imaging").set_index(["patient_id", "timepoint"])["study_day"]
    assert days.fillna(-1).to_dict() == {
        ("A", "restaging"): 126,
        ("A", "baseline"): 0,
        ("A", "preoperative"): 127,
        ("B", "baseline"): 10,
        ("B", "restaging"): -1,  # its reference day is not known: nothing is mixed
        ("C", "baseline"): -1,
    }
    written = b"".join(path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file())
    for text in (b"19600413", b"19591209", b"1960-04", b"Secret", uid("study", "A", "0").encode()):
        assert text not in written


def test_both_dates_of_a_real_patient(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "cmb_crc_liver_mri"
    if not folder.is_dir():
        pytest.skip("the MR series are absent")
    rows, shapes = [], {"SCAN_002": (45, 288, 256), "SCAN_001": (36, 288, 256)}
    for timepoint, scan in (("restaging", "SCAN_001"), ("baseline", "SCAN_002")):
        image = read_volume(folder / scan / "adc_image", case="x")
        assert image.array.shape == shapes[scan]
        assert image.spacing == pytest.approx((1.5625, 1.5625, {"SCAN_001": 7.0, "SCAN_002": 6.0}[scan]))
        heights = image.index_to_mm[2, 2]
        assert heights > 0  # from the feet to the head
        mask = np.zeros(image.array.shape, dtype=np.uint8)
        mask[10:14, 100:120, 100:120] = 1
        write_volume(Volume(mask, image.spacing, image.origin, image.direction), tmp_path / f"{scan}.nii.gz")
        rows.append(
            ScanRow(
                "X",
                timepoint,
                "MR",
                "adc",
                str(folder / scan / "adc_image"),
                str(tmp_path / f"{scan}.nii.gz"),
                "lesion=*",
            )
        )
    result = ingest_rows(rows, (), tmp_path / "out", progress=silent)
    assert result.exclusions == ()
    days = read_table(tmp_path / "out" / "imaging.parquet", "imaging").set_index("timepoint")["study_day"]
    assert days.to_dict() == {"baseline": 0, "restaging": 126}
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.parquet"))
    assert not re.search(rb"19(59|60)[-/]?(12|04)", written)


def test_one_scan_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (
        image_slices(np.full(SHAPE, value), Series(number=value, description=text))
        for value, text in ((1, "arterial"), (2, "venous"))
    )
    folder = save_all(save_all(tmp_path / "image", first, "a"), second, "b")
    contours = [[tuple(first[2].ImagePositionPatient)] * 3]
    mask = save_one(tmp_path / "mask" / "rs.dcm", structure_set(first, {"GTV": [np.array(c) for c in contours]}))
    command = ["ingest", "--image", str(folder), "--mask", str(mask.parent), "--patient", "../../P1", "--out"]
    assert run([*command, str(tmp_path / "a")]) == 4  # a contour of one point: nothing is enclosed
    assert "empty_mask" in capsys.readouterr().out
    save_one(mask, segmentation(first, {"Tumor": box(2, slice(3, 6), slice(3, 6))}))
    assert run([*command, str(tmp_path / "b"), "--series", "number=1", "--roles", "lesion=tumor"]) == 0
    manifest = read_table(tmp_path / "b" / "imaging.parquet", "imaging")
    assert re.fullmatch(r"images/[0-9a-f]{16}\.nii\.gz", manifest["image"][0])  # no key in a path
    assert not (tmp_path.parent / "P1").exists()
    with pytest.raises(ConfigError, match="together"):
        one_scan("P1", folder, None, "lesion=*", "baseline", "CT", "portal_venous")
    with pytest.raises(ConfigError, match="not described well"):
        one_scan("P1", folder, mask, "lesion=*", "someday", "CT", "portal_venous")


def test_cohort_folders_may_name_any_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "cohort"
    one = image_slices(np.ones(SHAPE, int), Series(number=1))
    two = image_slices(np.full(SHAPE, 2), Series(number=2, description="portal venous"))
    save_all(save_all(root / "dicom", one, "a"), two, "b")
    save_one(root / "seg.dcm", segmentation(two, expert(1)))
    pd.DataFrame({"patient_id": ["P1", "P2", "P3"]}).to_csv(root / "clinical.csv", index=False)
    key = {"timepoint": "baseline", "modality": "CT", "sequence": "portal_venous", "image": "dicom"}
    roles = "lesion=Tumor_*;liver=Liver"
    pd.DataFrame(
        [
            {"patient_id": "P1", **key, "mask": "seg.dcm", "mask_roles": roles, "series": "description=*venous*"},
            {"patient_id": "P2", **key, "mask": "seg.dcm", "mask_roles": roles, "series": "number=1"},
            {"patient_id": "P3", **key, "mask": "../../seg.dcm", "mask_roles": roles, "series": ""},
        ]
    ).to_csv(root / "imaging.csv", index=False)
    out = tmp_path / "out"
    assert run(["ingest", str(root), "--out", str(out)]) == 4
    exclusions = read_table(out / "exclusions.parquet", "exclusions")
    assert exclusions[["patient_id", "code"]].values.tolist() == [["P3", "path_outside"]]
    lesions = read_table(out / "lesions.parquet", "lesions").set_index("patient_id")["flags"].fillna("")
    assert "mask_references_other_series" not in lesions["P1"]
    assert "mask_references_other_series" in lesions["P2"]
    assert run(["extract", str(out), "--out", str(tmp_path / "features")]) == 0
    assert run(["extract", str(root), "--out", str(tmp_path / "direct")]) == 4
    capsys.readouterr()
    tables = [
        read_table(tmp_path / name / "features_lesion.parquet", "features_lesion") for name in ("features", "direct")
    ]
    for table in tables:
        assert table["patient_id"].tolist() == ["P1", "P2"]
    names = [c for c in tables[0] if c.startswith("lesion__")]
    np.testing.assert_array_equal(*(t[names].to_numpy(dtype=float) for t in tables))
