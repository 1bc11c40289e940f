"""The quality gate: each check on scans made to pass, to be doubtful and to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from solids import Scene

from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.quality import CHECK_COLUMNS, Check, check_scan, quality_table, verdict_of
from radiomics_crlm.imaging.scan import ScanFiles, load_scan
from radiomics_crlm.imaging.volume import read_volume
from radiomics_crlm.schema import load_schema

SCENE = Scene((120, 100, 90), (1.2, 1.2, 3.0))
LIVER = SCENE.ellipsoid((45, 38, 32))


def ct(noise: float = 10.0, liver: float = 110.0) -> Volume:
    rng = np.random.default_rng(3)
    image = np.where(LIVER, liver, np.where(SCENE.ellipsoid((56, 48, 200)), 40.0, -1000.0))
    return SCENE.volume(image + rng.normal(0, noise, image.shape))


def checks(image: Volume, modality: str = "CT", sequence: str = "portal_venous", **more: object) -> dict[str, Check]:
    anatomy = more.pop("anatomy", {"liver": LIVER})
    found = check_scan(image, modality=modality, sequence=sequence, anatomy=anatomy, **more)  # type: ignore[arg-type]
    table = quality_table(found)
    assert tuple(table.columns) == CHECK_COLUMNS
    assert set(table["check"]) <= set(load_schema("quality").columns["check"].allowed)
    assert table["reason"].str.len().gt(0).all()
    return {c.check: c for c in found}


def test_a_good_scan_passes() -> None:
    found = checks(ct(), contrast_delay_s=70.0)
    assert {c.verdict for c in found.values()} == {"pass"}
    assert set(found) == {
        "phase", "sequence_role", "slice_spacing", "in_plane_spacing", "anisotropy", "field_of_view", "noise",
        "hu_padding", "metal"}  # fmt: skip
    assert found["noise"].value == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(("noise", "verdict"), [(5.0, "pass"), (18.0, "pass"), (28.0, "doubtful"), (45.0, "fail")])
def test_noise_is_measured_in_the_liver(noise: float, verdict: str) -> None:
    found = checks(ct(noise))["noise"]
    assert found.value == pytest.approx(noise, rel=0.05)
    assert found.verdict == verdict


def test_noise_without_a_liver_comes_from_even_tissue() -> None:
    found = checks(ct(12.0), anatomy={})["noise"]
    assert found.value == pytest.approx(12.0, rel=0.25)
    assert "evenest" in found.reason
    flat = SCENE.volume(np.full(SCENE.shape, -1000.0))
    assert checks(flat, anatomy={})["noise"].verdict == "doubtful"


def test_texture_of_tumour_and_vessels_is_no_noise() -> None:
    image = ct(10.0)
    tumour = SCENE.sphere(24)
    image.array[tumour] += np.random.default_rng(5).normal(0, 200, int(tumour.sum()))
    assert checks(image, tumour=tumour)["noise"].value == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize(
    ("spacing", "name", "verdict"),
    [
        ((0.8, 0.8, 5.0), "slice_spacing", "pass"),
        ((0.8, 0.8, 7.5), "slice_spacing", "doubtful"),
        ((2.0, 2.0, 12.0), "slice_spacing", "fail"),
        ((0.8, 0.8, 5.0), "anisotropy", "pass"),
        ((0.6, 0.6, 5.0), "anisotropy", "doubtful"),
        ((0.5, 0.5, 7.0), "anisotropy", "fail"),
        ((2.2, 2.2, 3.0), "in_plane_spacing", "doubtful"),
        ((4.0, 1.0, 3.0), "in_plane_spacing", "fail"),
    ],
)
def test_grid(spacing: tuple[float, float, float], name: str, verdict: str) -> None:
    assert checks(replace(ct(), spacing=spacing))[name].verdict == verdict


def test_slices_of_a_coronal_scan_run_to_the_back() -> None:
    coronal = replace(ct(), spacing=(1.0, 1.0, 6.0), direction=(1, 0, 0, 0, 0, 1, 0, -1, 0))
    assert checks(coronal)["slice_spacing"].value == 1.0
    assert checks(coronal)["in_plane_spacing"].value == 6.0


def test_a_liver_cut_by_the_image_or_by_padding() -> None:
    cut = slice(None, SCENE.shape[0] // 2)
    image = replace(ct(), array=ct().array[cut])
    found = checks(image, anatomy={"liver": LIVER[cut]})["field_of_view"]
    assert (found.verdict, found.value) == ("fail", pytest.approx(1.0, abs=0.05))
    touching = np.zeros_like(LIVER)
    touching[1:20, 20:60, 20:60] = True
    touching[0, 20:24, 20:24] = True
    assert checks(ct(), anatomy={"liver": touching})["field_of_view"].verdict == "doubtful"
    assert checks(ct(), anatomy={})["field_of_view"].verdict == "doubtful"
    padded = ct()
    padded.array[:, :, : SCENE.shape[2] // 2] = -1024
    found = checks(padded)
    assert found["hu_padding"].verdict == "fail"
    assert "in the liver" in found["hu_padding"].reason
    assert found["field_of_view"].verdict == "fail"


def test_padding_outside_the_patient_is_normal_up_to_a_share() -> None:
    image = ct()
    image.array[:, :, np.abs(SCENE.x).ravel() > 50] = -1024
    share = checks(image)["hu_padding"]
    assert (share.verdict, share.value) == ("pass", pytest.approx(1 / 6, abs=0.03))
    large = np.full(tuple(2 * n for n in image.array.shape), -1024.0)
    large[: image.array.shape[0], : image.array.shape[1], : image.array.shape[2]] = image.array
    assert checks(SCENE.volume(large), anatomy={})["hu_padding"].verdict == "fail"


def test_metal_counts_near_the_liver_only() -> None:
    image = ct()
    image.array[15, 40:43, 40:43] = 3071
    assert checks(image)["metal"].verdict == "doubtful"
    image.array[10:20, 30:50, 30:50] = 3071
    assert checks(image)["metal"].verdict == "fail"
    far = Scene((400, 100, 90), (2.0, 2.0, 3.0))
    liver = far.ellipsoid((30, 30, 30), (-150, 0, 0))
    array = np.full(far.shape, 40.0)
    array[:, :, -10:] = 3071
    assert checks(far.volume(array), anatomy={"liver": liver})["metal"].value == 0.0
    assert checks(far.volume(array), anatomy={})["metal"].verdict == "fail"


def test_mr_has_its_own_checks() -> None:
    rng = np.random.default_rng(1)
    image = SCENE.volume(np.where(LIVER, 400.0, 100.0) + rng.normal(0, 40, SCENE.shape))
    found = checks(image, "MR", "hbp")
    assert "phase" not in found
    assert "hu_padding" not in found
    assert "metal" not in found
    assert found["noise"].value == pytest.approx(0.1, rel=0.1)
    assert checks(image, "MR", "mystery")["sequence_role"].verdict == "doubtful"
    assert checks(image, "MR", "mystery")["sequence_role"].reason.startswith("unknown role")
    noisy = SCENE.volume(image.array + rng.normal(0, 200, SCENE.shape))
    assert checks(noisy, "MR", "hbp")["noise"].verdict == "fail"


def test_the_scan_is_as_good_as_its_worst_check() -> None:
    parts = [Check("a", v, None, "", "x") for v in ("pass", "fail", "doubtful")]
    assert verdict_of(tuple(parts)) == "fail"
    assert verdict_of((parts[0], parts[2])) == "doubtful"
    assert verdict_of(()) == "pass"


def test_real_ct_without_organ_masks(shared_data: Path) -> None:
    """CRLM-CT-1006: 5 mm slices, a round field of view, and nothing that tells the phase."""
    lesions = "derived/CRLM-CT-1006_lesion_cross_sections.nii.gz"
    key = ("CRLM-CT-1006", "preoperative", "CT", "portal_venous")
    files = ScanFiles(key, ("dicom/CRLM-CT-1006",), ((lesions, "lesion=*"),))
    scan = load_scan(files, shared_data / "tcia_crlm_ct")
    found = checks(scan.image, anatomy=scan.anatomy, tumour=scan.tumour)
    assert found["slice_spacing"].value == pytest.approx(5.0, abs=1e-3)
    assert found["in_plane_spacing"].value == pytest.approx(0.805, abs=1e-3)
    assert found["hu_padding"].value == pytest.approx(1 - np.pi / 4, abs=0.002)  # the corners of a circle in a square
    assert found["phase"].verdict == "doubtful"
    assert found["metal"].value == 0.0
    assert 3 < (found["noise"].value or 0) < 20


def test_real_ct_without_contrast_is_caught(shared_data: Path) -> None:
    """The TotalSegmentator example is unenhanced: aorta and portal vein below 50 HU; it also ends inside the liver."""
    folder = shared_data / "totalsegmentator_examples"
    image, mask = (read_volume(folder / f"example_{n}.nii.gz", case="TS") for n in ("ct_sm", "seg"))
    roles = {"liver": 5, "spleen": 1, "aorta": 52, "portal_vein": 64}
    anatomy = {role: mask.array == label for role, label in roles.items()}
    found = checks(image, anatomy=anatomy)
    assert found["phase"].verdict == "fail"
    assert "not opacified" in found["phase"].reason
    assert found["field_of_view"].verdict == "fail"
