"""Target sums, volumes and fates on phantoms of known change; verdicts by the clinical rules."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from solids import SPACINGS, Point, Scene

from radiomics_crlm import clinical
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.imaging.matching import Alignment, match_lesions
from radiomics_crlm.imaging.regions import measure_lesions
from radiomics_crlm.imaging.response import Response, choose_targets, compare_scans, delta_table, deltas, group_rows

STILL = Alignment(np.eye(3), np.zeros(3), "scanner")
BIG, MIDDLE, SMALL = (-40.0, 0.0, 0.0), (5.0, 15.0, 5.0), (42.0, -18.0, 0.0)


def respond(before: Volume, after: Volume, max_targets: int = 2) -> Response:
    old, new = measure_lesions(before), measure_lesions(after)
    targets = choose_targets(old, max_targets=max_targets)
    return compare_scans(old, new, match_lesions(before, after, STILL), targets=targets)


def verdict(found: Response) -> str | None:
    inputs = {
        "baseline_sum_mm": found.baseline_sum_mm,
        "current_sum_mm": found.current_sum_mm,
        "new_lesions": bool(found.new),
    }
    return clinical.evaluate("recist11", inputs).group


@pytest.fixture(params=SPACINGS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene((150, 90, 80), request.param)


def scan(scene: Scene, *spheres: tuple[float, Point]) -> Volume:
    return scene.labels(*(scene.sphere(radius, centre) for radius, centre in spheres))


# Radii of the three lesions at the two scans (0 is gone, None in the first scan is not yet there), and the truth.
CHANGES = [
    ((20, 12, 7), (20, 12, 7), "SD"),
    ((20, 12, 7), (13, 7.5, 7), "PR"),
    ((20, 12, 7), (17, 10, 3), "SD"),
    ((20, 12, 7), (25, 15, 7), "PD"),
    ((20, 12, 0), (0, 0, 0), "CR"),
    ((20, 12, 0), (14, 8, 6), "PD"),  # shrinking targets, but a new lesion
    ((20, 12, 7), (22, 0, 7), "PR"),  # one target gone
]


@pytest.mark.parametrize(("radii", "later", "category"), CHANGES)
def test_known_changes(scene: Scene, radii: Point, later: Point, category: str) -> None:
    places = (BIG, MIDDLE, SMALL)
    before = scan(scene, *((r, c) for r, c in zip(radii, places, strict=True) if r))
    after = scan(scene, *((r, c) for r, c in zip(later, places, strict=True) if r))
    if not any(later):
        after = scene.labels(np.zeros(scene.shape, dtype=bool))
    found = respond(before, after)
    voxel = max(scene.spacing[:2])
    assert found.targets == (1, 2)
    assert found.baseline_sum_mm == pytest.approx(2 * sum(radii[:2]), abs=2 * voxel)
    assert found.current_sum_mm == pytest.approx(2 * sum(later[:2]), abs=2 * voxel)
    start, now = (sum(4 / 3 * math.pi * r**3 for r in rs) / 1000 for rs in (radii, later))
    true_change = 100 * (now - start) / start
    rule = clinical.evaluate(
        "ttv_response", {"ttv_baseline_ml": found.ttv_baseline_ml, "ttv_current_ml": found.ttv_current_ml}
    )
    assert rule.value == pytest.approx(true_change, abs=2.0)
    assert len(found.new) == sum(not a and bool(b) for a, b in zip(radii, later, strict=True))
    assert len(found.disappeared) == sum(bool(a) and not b for a, b in zip(radii, later, strict=True))
    assert verdict(found) == category


def test_merged_targets_count_once(scene: Scene) -> None:
    before = scan(scene, (12, (-46, 0, 0)), (10, (-18, 0, 0)), (6, SMALL))
    after = scene.labels(scene.ellipsoid((29, 12, 12), (-34, 0, 0)), scene.sphere(6, SMALL))
    found = respond(before, after)
    assert found.flags == ("target_merged",)
    assert found.baseline_sum_mm == pytest.approx(44, abs=2 * max(scene.spacing[:2]))
    assert found.current_sum_mm == pytest.approx(58, abs=max(scene.spacing[:2]))
    assert not found.new
    assert not found.disappeared
    assert verdict(found) == "PD"


def test_split_targets_are_added_up(scene: Scene) -> None:
    before = scene.labels(scene.ellipsoid((29, 12, 12), (-34, 0, 0)), scene.sphere(6, SMALL))
    after = scan(scene, (9, (-48, 0, 0)), (7, (-18, 0, 0)), (6, SMALL))
    found = respond(before, after)
    voxel = max(scene.spacing[:2])
    assert found.flags == ("target_split",)
    assert found.baseline_sum_mm == pytest.approx(58 + 12, abs=2 * voxel)
    assert found.current_sum_mm == pytest.approx(18 + 14 + 12, abs=3 * voxel)
    assert not found.new
    assert verdict(found) == "PR"


def test_number_of_targets_can_be_chosen() -> None:
    lesions = pd.DataFrame({"lesion": [1, 2, 3, 4], "longest_axial_mm": [9.9, 30.0, 10.0, 30.0]})
    assert choose_targets(lesions) == (2, 4)
    assert choose_targets(lesions, max_targets=5) == (2, 4, 3)
    assert choose_targets(lesions, max_targets=1) == (2,)
    assert choose_targets(lesions, min_mm=50) == ()


def test_no_measurable_lesion_means_no_sum() -> None:
    scene = Scene((60, 40, 40), (1, 1, 1))
    found = respond(scan(scene, (4, (0, 0, 0))), scan(scene, (3, (0, 0, 0))))
    assert found.baseline_sum_mm is None
    assert found.current_sum_mm is None
    assert found.flags == ("no_measurable_lesion",)
    assert verdict(found) is None


def test_every_group_is_a_row() -> None:
    scene = Scene((150, 90, 80), (1, 1, 1))
    before = scan(scene, (12, (-46, 0, 0)), (10, (-18, 0, 0)), (6, SMALL))
    after = scene.labels(scene.ellipsoid((29, 12, 12), (-34, 0, 0)), scene.sphere(6, (10, 20, 0)))
    old, new = measure_lesions(before), measure_lesions(after)
    rows = group_rows(match_lesions(before, after, STILL), old, new)
    assert [(r["lesions_before"], r["lesions_after"], r["fate"]) for r in rows] == [
        ("1,2", "1", "merged"), ("3", "", "disappeared"), ("", "2", "new")]  # fmt: skip
    assert rows[0]["volume_before_ml"] == pytest.approx(old["volume_ml"][:2].sum())
    assert rows[1]["longest_axial_after_mm"] is None
    assert rows[2]["volume_before_ml"] == 0.0


def test_deltas_are_later_minus_earlier() -> None:
    key = {"patient_id": ["a", "a", "b", "c"], "modality": "CT", "sequence": "portal_venous"}
    table = pd.DataFrame({**key, "timepoint": ["baseline", "restaging", "baseline", "restaging"], "flags": "x"})
    table["burden__n_lesions"] = [3, 5, 1, 2]
    table["largest__mean"] = [1.5, np.nan, 0.0, 1.0]
    pairs = pd.DataFrame({"patient_id": ["a", "b", "c"], "modality": "CT", "sequence": "portal_venous"})
    pairs = pairs.assign(baseline_timepoint="baseline", timepoint="restaging")
    found = delta_table(table, pairs)
    assert found["patient_id"].tolist() == ["a"]
    assert found["delta__burden__n_lesions"].tolist() == [2.0]
    assert found["delta__largest__mean"].isna().all()
    assert "delta__flags" not in found
    assert deltas({"a": 1, "b": True}, {"a": 4, "b": False}) == {"delta__a": 3.0}
