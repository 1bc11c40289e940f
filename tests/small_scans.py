"""A cohort of tiny scans on disk, for tests of extraction: quick to read, quick to extract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from radiomics_crlm.features.batch import ExtractionResult, extract_cohort
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.volume import Volume, write_volume

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
# Corner and size in voxels (z, y, x) of three lesions, large to small; the last one is a single voxel.
LESIONS = (((4, 4, 4), (6, 7, 8)), ((4, 14, 4), (4, 4, 5)), ((12, 14, 14), (1, 1, 1)))
PROFILE = Profile(
    name="tiny",
    description="test",
    modality="CT",
    resample_mm=None,
    bin_width=25,
    log_sigma_mm=(2.0,),
    feature_classes=("firstorder", "shape", "glcm"),
    regions=("lesion", "liver"),
)
TABLES = ("lesions", "features_lesion", "features_region", "anatomy", "exclusions", "quality", "measured")


def small_scan(seed: int, lesions: Sequence[int] = (0, 1, 2)) -> tuple[Volume, Volume, Volume]:
    """Image, lesion mask and anatomy (1: liver) of a scan."""
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, (18, 22, 24))
    labels, organs = np.zeros((2, *values.shape), dtype=np.int16)
    organs[2:16, 2:20, 2:20] = 1
    for number in lesions:
        corner, size = LESIONS[number]
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = number + 1
    values[labels > 0] -= 40
    spacing, origin = (1.5, 1.5, 2.0), (3.0, -4.0, 5.0)
    image, mask, anatomy = (Volume(a.astype(np.int16), spacing, origin, IDENTITY) for a in (values, labels, organs))
    return image, mask, anatomy


def write_small_cohort(folder: Path, patients: int = 3, *, keys: Sequence[str] | None = None) -> pd.DataFrame:
    """Write scans of some patients and return their manifest, which is also written."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(patients):
        for name, volume in zip(("image", "lesions", "anatomy"), small_scan(number), strict=True):
            write_volume(volume, folder / f"s{number}_{name}.nii.gz")
        for name, roles in (("lesions", "lesion=*"), ("anatomy", "liver=1")):
            key = keys[number] if keys else f"P{number}"
            where = {"image": f"s{number}_image.nii.gz", "mask": f"s{number}_{name}.nii.gz", "mask_roles": roles}
            kind = {"timepoint": "preoperative", "modality": "CT", "sequence": "portal_venous"}
            rows.append({"patient_id": key, **kind, **where, "study_day": 0})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "imaging.csv", index=False)
    return table


def extracted(folder: Path, table: pd.DataFrame, profile: Profile = PROFILE, **more: object) -> ExtractionResult:
    """Extract a small cohort."""
    return extract_cohort(table, folder, {"CT/portal_venous": profile}, **more)  # type: ignore[arg-type]


def assert_same_tables(one: ExtractionResult, other: ExtractionResult, tables: Sequence[str] = TABLES) -> None:
    """Every table equal to the last bit, in types and in order."""
    for name in tables:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)


def with_settings(profile: Profile = PROFILE, **changes: object) -> Profile:
    """A profile with other settings, checked like any."""
    fields: Mapping[str, object] = {**profile.model_dump(), **changes}
    return Profile.model_validate(fields)
