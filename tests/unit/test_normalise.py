"""N4 takes a known bias field out; a reference tissue sets the scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solids import Scene

from radiomics_crlm.config import parse_config
from radiomics_crlm.errors import CaseError
from radiomics_crlm.features.extract import extract_scan
from radiomics_crlm.features.profiles import ExtractConfig
from radiomics_crlm.imaging.normalise import REFERENCE_LEVEL, correct_bias, scale_to_tissue

SCENE = Scene((150, 120, 100), (2.5, 2.5, 4.0))
BODY, LIVER = SCENE.ellipsoid((68, 54, 46)), SCENE.ellipsoid((35, 30, 28), (-20, 0, 0))
SPLEEN, LESION = SCENE.sphere(14, (42, 0, 0)), SCENE.sphere(10, (-20, 0, 0))


def phantom(bias: float) -> np.ndarray:
    """Three tissues and noise under a smooth field from ``exp(-bias)`` to ``exp(bias)``."""
    rng = np.random.default_rng(7)
    image = np.select([LESION, LIVER, SPLEEN, BODY], [180.0, 400.0, 250.0, 300.0], 5.0)
    image = image + rng.normal(0, 4, image.shape)
    field = np.exp(bias * (SCENE.x / 75 + 0 * SCENE.y + 0.5 * SCENE.z / 50))
    return np.abs(image * field).astype(np.float32)


def unevenness(image: np.ndarray, region: np.ndarray) -> float:
    return float(image[region].std() / image[region].mean())


def test_a_known_field_is_taken_out() -> None:
    image = SCENE.volume(phantom(0.5))
    corrected = correct_bias(image, shrink=2)
    healthy = LIVER & ~LESION
    assert unevenness(image.array, healthy) > 0.12
    assert unevenness(corrected.array, healthy) < unevenness(image.array, healthy) / 3
    assert unevenness(phantom(0.0), healthy) < 0.02
    assert corrected.flags == ("bias_corrected",)
    assert (corrected.spacing, corrected.origin) == (image.spacing, image.origin)
    assert correct_bias(image, shrink=2).array.tobytes() == corrected.array.tobytes()


def test_the_scale_is_the_reference() -> None:
    image = SCENE.volume(phantom(0.0))
    anatomy = {"liver": LIVER, "spleen": SPLEEN}
    scaled = scale_to_tissue(image, "liver", anatomy, tumour=LESION, case="P1")
    assert np.median(scaled.array[LIVER & ~LESION]) == pytest.approx(REFERENCE_LEVEL, rel=0.01)
    assert np.median(scaled.array[LESION]) == pytest.approx(REFERENCE_LEVEL * 180 / 400, rel=0.02)
    assert scaled.flags == ("scaled_to:liver",)
    # A scanner that doubles every value changes nothing afterwards.
    doubled = scale_to_tissue(replace(image, array=image.array * 2), "liver", anatomy, tumour=LESION, case="P1")
    assert np.allclose(doubled.array, scaled.array, rtol=1e-6)


@pytest.mark.parametrize(
    ("anatomy", "factor", "code"),
    [
        ({}, 1.0, "no_reference_tissue"),
        ({"spleen": SCENE.sphere(3)}, 1.0, "no_reference_tissue"),
        ({"spleen": LESION}, 1.0, "no_reference_tissue"),
        ({"spleen": SPLEEN}, 0.0, "dark_reference_tissue"),
    ],
)
def test_without_a_reference_the_scan_is_refused(anatomy: dict[str, np.ndarray], factor: float, code: str) -> None:
    image = SCENE.volume(phantom(0.0) * factor)
    with pytest.raises(CaseError, match="P1.*spleen") as caught:
        scale_to_tissue(image, "spleen", anatomy, tumour=LESION, case="P1")
    assert caught.value.code == code


def test_features_see_the_prepared_image() -> None:
    body = {
        "description": "test", "modality": "MR", "resample_mm": None, "bin_width": 5, "feature_classes": ["firstorder"],
        "reference_tissue": "liver"}  # fmt: skip
    profile = parse_config(ExtractConfig, {"profiles": {"p": body}, "scans": {}}, where="x").profiles["p"]
    image, lesions = SCENE.volume(phantom(0.0)), SCENE.labels(LESION)
    anatomy = {"liver": LIVER}
    row = extract_scan(image, lesions, profile, case="P1", anatomy=anatomy).iloc[0]
    expected = scale_to_tissue(image, "liver", anatomy, tumour=LESION, case="P1").array[LESION].mean()
    assert row["lesion__original_firstorder_Mean"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(CaseError, match="does|not show"):
        extract_scan(image, lesions, profile, case="P1")
