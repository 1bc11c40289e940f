"""The phase verdict: bounds of the clinical rule, and tissues as contrast leaves them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from radiomics_crlm import clinical
from radiomics_crlm.imaging.phase import DOUBTFUL, FAIL, PASS, delay_between, delay_verdict, portal_venous_phase

SHAPE = (6, 40, 40)
BOXES = {
    "liver": (slice(1, 5), slice(2, 30), slice(2, 20)),
    "portal_vein": (slice(1, 5), slice(10, 16), slice(8, 14)),
    "aorta": (slice(0, 6), slice(30, 37), slice(28, 35)),
}


@pytest.mark.parametrize("delay", [*range(0, 130), 49.9, 59.99, 75.01, 90.0, 90.01])
def test_bounds_on_the_delay_are_those_of_the_rule(delay: float) -> None:
    """Imaging lies below the rules and cannot ask them; this holds the two together."""
    rule = clinical.evaluate("portal_venous_qc", {"contrast_delay_s": delay})
    assert {"pass": PASS, "warn": DOUBTFUL, "fail": FAIL}[str(rule.group)] == delay_verdict(delay)
    if clinical.evaluate("contrast_phase", {"contrast_delay_s": delay}).group == "portal_venous":
        assert delay_verdict(delay) == PASS


def scene(liver: float | None, portal: float | None, aorta: float | None) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """HU of three organs with noise; an organ without HU has no mask."""
    rng = np.random.default_rng(1)
    image = np.full(SHAPE, -80.0)
    anatomy = {}
    for name, hu in (("liver", liver), ("portal_vein", portal), ("aorta", aorta)):
        if hu is not None:
            anatomy[name] = np.zeros(SHAPE, dtype=bool)
            anatomy[name][BOXES[name]] = True
            image[BOXES[name]] = hu
    return image + rng.normal(0, 8, SHAPE), anatomy


@pytest.mark.parametrize(
    ("liver", "portal", "aorta", "delay", "verdict", "reason"),
    [
        (110, 170, 160, None, PASS, "portal vein 1[67]. HU"),
        (110, 170, 160, 68, PASS, "delay 68 s"),
        (110, 170, 160, 55, DOUBTFUL, "delay 55 s"),
        (110, 170, 160, 30, FAIL, "delay 30 s"),
        (110, 170, None, None, PASS, "above liver"),
        (110, None, None, None, PASS, "no vessel mask"),
        (None, None, None, 70, PASS, "delay 70 s"),
        (None, None, None, None, DOUBTFUL, "neither delay nor organ masks"),
        (65, 120, 300, None, FAIL, "arterial phase"),
        (85, 140, 190, None, DOUBTFUL, "late arterial"),
        (55, 42, 42, None, FAIL, "not opacified"),
        (55, None, 42, None, FAIL, "aorta 4. HU: not opacified"),
        (105, 112, 110, None, DOUBTFUL, "delayed or unenhanced"),
        (60, 150, 145, None, DOUBTFUL, "unenhanced or fatty"),
        (90, 100, 95, None, DOUBTFUL, "weakly opacified"),
        (55, None, None, None, DOUBTFUL, "unenhanced or fatty"),
        (55, 42, 42, 70, FAIL, "not opacified"),  # the tag is right about the time and wrong about the contrast
    ],
)
def test_phases(
    liver: float | None, portal: float | None, aorta: float | None, delay: float | None, verdict: str, reason: str
) -> None:
    image, anatomy = scene(liver, portal, aorta)
    found = portal_venous_phase(image, anatomy, delay_s=delay)
    assert found.verdict == verdict
    assert re.search(reason, "; ".join(found.reasons)), found.reasons
    if liver is not None:
        assert found.liver_hu == pytest.approx(liver, abs=3)


def test_tumour_and_vessels_are_no_liver_tissue() -> None:
    image, anatomy = scene(110, 170, None)
    tumour = np.zeros(SHAPE, dtype=bool)
    tumour[1:5, 2:26, 2:9] = True
    image[tumour] = 20.0
    assert portal_venous_phase(image, anatomy, tumour=tumour).liver_hu == pytest.approx(110, abs=3)


def test_specks_tell_no_phase() -> None:
    image = np.full(SHAPE, 40.0)
    speck = np.zeros(SHAPE, dtype=bool)
    speck[2, 5:8, 5:8] = True
    found = portal_venous_phase(image, {"liver": speck, "aorta": speck & False})
    assert found.verdict == DOUBTFUL
    assert found.liver_hu is None


@pytest.mark.parametrize(
    ("injection", "scan", "seconds"),
    [
        ("101500", "101610", 70.0),
        ("101500.250000", "101610.500000", 70.25),
        ("235950", "000100", None),  # over midnight
        ("101500", "101400", None),
        ("101500", "103000", None),
        ("", "101500", None),
        ("abc", "101500", None),
        ("1015", "1016", None),
    ],
)
def test_delay_from_dicom_times(injection: str, scan: str, seconds: float | None) -> None:
    assert delay_between(injection, scan) == seconds
