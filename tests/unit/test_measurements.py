"""Measurements against solids of known size, the cross-check with the chart, and inputs filled from masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from solids import SPACINGS, Point, Scene

from radiomics_crlm import clinical
from radiomics_crlm.imaging.measurements import (
    ScanMeasurement,
    cross_check,
    fill_from_masks,
    gap_mm,
    is_bilobar,
    is_bilobar_by_plane,
    measure_in_place,
    measure_scan,
)

SCAN = ScanMeasurement(n_lesions=3, largest_axial_mm=42.0, total_volume_ml=55.0, tbs=5.16, bilobar=True)
UNKNOWN_SIDE, TINY = replace(SCAN, bilobar=None), replace(SCAN, largest_axial_mm=12.0)


def ml(*radii: float) -> float:
    return 4 / 3 * np.pi * float(np.prod(radii)) / 1000


@pytest.mark.parametrize("spacing", SPACINGS)
def test_an_ellipsoidal_liver_with_two_lesions(spacing: Point) -> None:
    """Volumes to 2 %, diameters and distances to a voxel, standardised remnant to 2 %."""
    scene = Scene((146, 126, 106), spacing)
    liver = scene.ellipsoid((70, 60, 50))
    big, small = scene.sphere(20, (-30, 0, 0)), scene.ellipsoid((12, 9, 10), (25, 0, 0))
    portal = scene.box((3, 50, 3), (0, 0, 0)) & liver
    lesions = scene.labels(big, small)
    remnant = liver & np.broadcast_to(scene.x > 0, scene.shape)
    table, scan = measure_in_place(lesions, {"liver": liver, "remnant": remnant, "portal_vein": portal})
    voxel = max(spacing)
    tumour = ml(20, 20, 20) + ml(12, 9, 10)
    assert scan.n_lesions == 2
    assert scan.total_volume_ml == pytest.approx(tumour, rel=0.02)
    assert scan.liver_volume_ml == pytest.approx(ml(70, 60, 50), rel=0.02)
    assert scan.remnant_volume_ml == pytest.approx(ml(70, 60, 50) / 2 - ml(12, 9, 10), rel=0.03)
    assert scan.sflr_pct == pytest.approx(
        100 * (ml(70, 60, 50) / 2 - ml(12, 9, 10)) / (ml(70, 60, 50) - tumour), rel=0.03
    )
    assert scan.largest_axial_mm == pytest.approx(40, abs=max(spacing[:2]))
    assert scan.tbs == pytest.approx(np.hypot(scan.largest_axial_mm / 10, 2))
    assert table["portal_vein_mm"].tolist() == pytest.approx([30 - 20 - 3, 25 - 12 - 3], abs=voxel)
    # Nearest capsule: the first lesion towards -y or -x, found by brute force on the ellipsoid's surface.
    assert table["surface_mm"].tolist() == pytest.approx(
        [capsule_distance((-30, 0, 0), (20, 20, 20)), capsule_distance((25, 0, 0), (12, 9, 10))], abs=voxel
    )
    assert scan.closest_portal_vein_mm == table["portal_vein_mm"].min()
    assert scan.closest_hepatic_vein_mm is None
    assert scan.bilobar is None
    assert (table["core_ml"] + table["rim_ml"]).tolist() == pytest.approx(table["volume_ml"].tolist())


def capsule_distance(centre: Point, radii: Point) -> float:
    """Distance between the surfaces of a lesion and of the liver of the test above."""

    def surface(centre: Point, radii: Point) -> np.ndarray:
        theta, phi = np.meshgrid(np.linspace(0, np.pi, 45), np.linspace(0, 2 * np.pi, 60))
        unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
        return np.asarray(unit.reshape(-1, 3) * radii + centre)

    return float(cdist(surface(centre, radii), surface((0, 0, 0), (70, 60, 50))).min())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("gap", [4.0, 11.0])
def test_gap_between_two_spheres(spacing: Point, gap: float) -> None:
    scene = Scene((90, 40, 40), spacing)
    one, other = scene.sphere(15, (-15 - gap / 2, 0, 0)), scene.sphere(15, (15 + gap / 2, 0, 0))
    assert gap_mm(one, other, spacing) == pytest.approx(gap, abs=max(spacing))


def brute_gap(one: np.ndarray, other: np.ndarray, spacing: Point) -> float:
    """Smallest distance between face centres of any two voxels, or 0 if two voxels are neighbours."""
    sampling = np.array(spacing[::-1])
    a, b = np.argwhere(one), np.argwhere(other)
    if np.abs(a[:, None] - b[None]).max(axis=2).min() <= 1:
        return 0.0
    halves = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = [((p[:, None] + halves).reshape(-1, 3) * sampling) for p in (a, b)]
    return float(cdist(*points).min())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.02, 0.1, 0.4]))
def test_gap_equals_brute_force(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 5, 6, 7)) < density
    one[0, 0, 0], other[-1, -1, -1] = True, True
    spacing = (0.8, 1.0, 4.0)
    assert gap_mm(one, other, spacing) == pytest.approx(brute_gap(one, other, spacing))
    assert gap_mm(one, other, spacing) == gap_mm(other, one, spacing)


def test_touching_is_zero_and_nothing_is_unknown() -> None:
    a = np.zeros((4, 4, 4), dtype=bool)
    b = a.copy()
    a[1, 1, 1], b[2, 2, 2] = True, True
    assert gap_mm(a, b, (1.0, 2.0, 3.0)) == 0.0
    assert gap_mm(a, np.zeros_like(a), (1, 1, 1)) is None


@settings(max_examples=20, deadline=None)
@given(axis=st.integers(0, 2), seed=st.integers(0, 1000))
def test_flips_and_shifts_change_no_measurement(axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = Scene((40, 36, 30), (1.0, 1.2, 2.5))
    centre = rng.uniform(-4, 4, 3)
    lesions = scene.labels(
        scene.ellipsoid((6, 5, 7), (float(centre[0]) - 6, float(centre[1]), 0)), scene.sphere(4, (9, 0, 2))
    )
    anatomy = {"liver": scene.ellipsoid((19, 17, 14)), "portal_vein": scene.box((1, 20, 3))}
    anatomy["remnant"] = anatomy["liver"] & np.broadcast_to(scene.x > 2, scene.shape)
    table, scan = measure_in_place(lesions, anatomy, ring_mm=4, rim_mm=2)
    flipped = replace(lesions, array=np.flip(lesions.array, axis).copy())
    same_table, same = measure_in_place(
        flipped, {k: np.flip(v, axis).copy() for k, v in anatomy.items()}, ring_mm=4, rim_mm=2
    )
    for name, value in vars(scan).items():
        assert getattr(same, name) == pytest.approx(value), name
    places = ["centroid_x_mm", "centroid_y_mm", "centroid_z_mm", "flags"]
    pd.testing.assert_frame_equal(table.drop(columns=places), same_table.drop(columns=places))
    moved = replace(lesions, origin=(100.0, -50.0, 3.0))
    assert measure_in_place(moved, anatomy, ring_mm=4, rim_mm=2)[1] == scan
    assert measure_scan(moved, anatomy).total_volume_ml == scan.total_volume_ml


def test_bilobar_by_hemilivers_and_by_plane() -> None:
    scene = Scene((80, 40, 40), (1, 1, 1))
    liver = scene.ellipsoid((38, 18, 18))
    right, left = (liver & np.broadcast_to(side, scene.shape) for side in (scene.x < 0, scene.x >= 0))
    one, other = scene.sphere(5, (-20, 0, 0)), scene.sphere(5, (20, 0, 0))
    sampling = np.ones(3)
    assert is_bilobar(one | other, left, right, sampling)
    assert not is_bilobar(one, left, right, sampling)
    # Segment masks that leave the lesions out.
    assert is_bilobar(one | other, left & ~other, right & ~one, sampling)
    assert not is_bilobar(other, left & ~other, right, sampling)
    assert not is_bilobar(one, left, np.zeros_like(left), sampling)
    assert is_bilobar_by_plane(scene.labels(one, other), (0, 0, 0), (1, 0, 0))
    assert not is_bilobar_by_plane(scene.labels(one), (0, 0, 0), (1, 0, 0))
    assert not is_bilobar_by_plane(scene.labels(one, other), (0, -30, 0), (0, 1, 0))
    measured = measure_scan(scene.labels(one, other), {"left_liver": left, "right_liver": right})
    assert measured.bilobar is True


def test_remnant_leaves_its_tumour_out() -> None:
    scene = Scene((60, 40, 40), (1, 1, 1))
    liver = scene.ellipsoid((28, 18, 18))
    lesions = scene.labels(scene.sphere(6, (10, 0, 0)))
    remnant = liver & np.broadcast_to(scene.x > 0, scene.shape)
    scan = measure_scan(lesions, {"liver": liver, "remnant": remnant})
    voxels = lambda mask: int(mask.sum()) / 1000  # noqa: E731
    tumour = lesions.array > 0
    assert scan.remnant_volume_ml == pytest.approx(voxels(remnant & ~tumour))
    assert scan.sflr_pct == pytest.approx(100 * voxels(remnant & ~tumour) / voxels(liver & ~tumour))
    rule = clinical.evaluate(
        "sflr",
        {
            "flr_ml": scan.remnant_volume_ml * 30,  # the rule refuses livers of this size
            "tlv_ml": scan.liver_volume_ml * 30,
            "tumour_volume_ml": scan.total_volume_ml * 30,
        },
    )
    assert scan.sflr_pct == pytest.approx(rule.value)


@pytest.mark.parametrize(
    ("measured", "chart", "verdicts"),
    [
        (SCAN, {"n_liver_mets": 3, "largest_met_mm": 42.0, "bilobar": True}, ["agree", "agree", "agree"]),
        (SCAN, {"n_liver_mets": 4, "largest_met_mm": 30.0, "bilobar": False}, ["disagree"] * 3),
        (SCAN, {"n_liver_mets": 3.0, "largest_met_mm": 35.0, "bilobar": None}, ["agree", "agree", "chart_missing"]),
        (SCAN, {"n_liver_mets": 2, "largest_met_mm": 34.9, "bilobar": np.nan}, ["disagree"] * 2 + ["chart_missing"]),
        (SCAN, {}, ["chart_missing"] * 3),
        (None, {"n_liver_mets": 4}, ["masks_missing"] * 3),
        (UNKNOWN_SIDE, {"n_liver_mets": 3, "bilobar": True}, ["agree", "chart_missing", "masks_missing"]),
        (TINY, {"largest_met_mm": 17.0}, ["chart_missing", "agree", "chart_missing"]),
        (TINY, {"largest_met_mm": 17.1}, ["chart_missing", "disagree", "chart_missing"]),
    ],
)  # fmt: skip
def test_cross_check(measured: ScanMeasurement | None, chart: dict[str, object], verdicts: list[str]) -> None:
    rows = cross_check(measured, chart)
    assert [r["item"] for r in rows] == ["n_liver_mets", "largest_met_mm", "bilobar"]
    assert [r["verdict"] for r in rows] == verdicts


def test_a_disagreement_keeps_both_numbers() -> None:
    row = cross_check(SCAN, {"largest_met_mm": 30.0})[1]
    assert (row["from_masks"], row["from_chart"], row["difference"], row["tolerance"]) == (42.0, 30.0, 12.0, 6.0)


def test_filling_never_replaces_the_chart() -> None:
    chart = {"patient_id": "a", "n_liver_mets": 9, "largest_met_mm": np.nan, "bilobar": False, "tlv_ml": pd.NA}
    inputs, sources = fill_from_masks(chart, replace(SCAN, liver_volume_ml=1500.0, remnant_volume_ml=None))
    assert inputs["n_liver_mets"] == 9
    assert inputs["bilobar"] is False
    assert inputs["largest_met_mm"] == 42.0
    assert inputs["tlv_ml"] == 1500.0
    assert "flr_ml" not in inputs
    assert sources == {
        "n_liver_mets": "chart", "largest_met_mm": "masks", "bilobar": "chart", "tumour_volume_ml": "masks",
        "tlv_ml": "masks", "flr_ml": "unknown", "sflr_pct": "unknown"}  # fmt: skip
    assert clinical.evaluate("tbs2018", inputs).score == pytest.approx(np.hypot(4.2, 9))
    assert fill_from_masks(chart, None)[1]["largest_met_mm"] == "unknown"
