"""Comparison of the engine with the consensus values of the Image Biomarker Standardisation Initiative (IBSI 1).

The digital phantom of the initiative, 5 x 4 x 4 voxels, comes with the package, so that any installation can be
checked (doi:10.1148/radiol.2020191145).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from radiomics_crlm.config import Strict, load_config
from radiomics_crlm.features.extract import extract_scan
from radiomics_crlm.features.ibsi import Family, load_feature_map
from radiomics_crlm.features.profiles import Profile
from radiomics_crlm.imaging.geometry import Volume
from radiomics_crlm.resources import resource

_COLUMN = "lesion__original_"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_DIGITS = 3


@dataclass(frozen=True)
class Agreement:
    """One feature against its consensus value.

    ``got`` is what the engine gives. Where ``exception`` names a deviation by definition, ``converted`` is the value
    that the standard's own definition would give; elsewhere it is the same number.
    """

    feature: str
    ibsi_name: str
    ibsi_id: str
    tag: str
    expected: float
    tolerance: float
    got: float
    converted: float
    exception: str | None

    @property
    def agrees(self) -> bool:
        """Whether ``got`` is within tolerance; NaN never is."""
        return self._within(self.got)

    @property
    def ok(self) -> bool:
        """Within tolerance; or deviating as the named exception says: not as computed, but after its conversion."""
        return self._within(self.converted) and self.agrees == (self.exception is None)

    def _within(self, value: float) -> bool:
        # A little more, because decimal values are not exact in binary.
        return abs(value - self.expected) <= max(self.tolerance, rounding(self.expected)) * (1 + 1e-9)


class Phantom(Strict):
    """The content of ``ibsi_digital_phantom.yaml``; arrays are slices, rows, columns."""

    spacing_mm: tuple[float, float, float]
    image: tuple[tuple[tuple[int, ...], ...], ...]
    mask: tuple[tuple[tuple[int, ...], ...], ...]
    bin_width: float
    values: dict[str, tuple[float, float]]


def rounding(value: float) -> float:
    """Half a unit of the third significant digit, because consensus values are published with three.

    Examples
    --------
    >>> rounding(567.0), rounding(-0.355), rounding(0.0)
    (0.5, 0.0005, 0.0)
    """
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - _DIGITS + 1
    return float(f"{0.5 * 10.0**exponent:.12g}")


def compare(
    row: pd.Series,
    values: Mapping[str, tuple[float, float]],
    exceptions: Mapping[str, str],
    *,
    force_2d: bool,
    n_voxels: int,
) -> list[Agreement]:
    """Compare the features of one region with consensus values.

    Parameters
    ----------
    row
        A row of `extract_scan`; features of the original image.
    values
        Tag of the reference tables to consensus value and tolerance. Each feature that the engine and the standard
        share must be there, with the merging that the engine uses.
    exceptions
        Feature (``shape_MinorAxisLength``) to the deviation by definition that puts it out of tolerance.
    force_2d
        Whether texture was computed within slices.
    n_voxels
        Voxels of the region before re-segmentation, on the grid of the features.
    """
    known = load_feature_map()
    found = []
    for kind, name in known.supported():
        entry, feature = known.features[kind][name], f"{kind}_{name}"
        tag = f"{entry.tag}{_ending(known.families[kind], force_2d)}"
        got, exception = float(row[_COLUMN + feature]), exceptions.get(feature)
        expected, tolerance = values[tag]
        found.append(
            Agreement(
                feature=feature,
                ibsi_name=str(entry.ibsi),
                ibsi_id=entry.id or "",
                tag=tag,
                expected=expected,
                tolerance=tolerance,
                got=got,
                converted=_converted(got, exception, n_voxels),
                exception=exception,
            )
        )
    return found


def digital_phantom() -> list[Agreement]:
    """Extract the digital phantom of the initiative and compare with its consensus values."""
    phantom = load_config(Phantom, resource("features/data/ibsi_digital_phantom.yaml"))
    known = load_feature_map()
    profile = Profile(
        name="ibsi-digital-phantom",
        description="no interpolation, no re-segmentation, grey levels as they are",
        modality="CT",
        resample_mm=None,
        bin_width=phantom.bin_width,
        feature_classes=("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"),
    )
    origin = (0.0, 0.0, 0.0)
    image = Volume(np.array(phantom.image, dtype=np.int16), phantom.spacing_mm, origin, _IDENTITY)
    mask = Volume(np.array(phantom.mask, dtype=np.int16), phantom.spacing_mm, origin, _IDENTITY)
    row = extract_scan(image, mask, profile, case="ibsi-digital-phantom").iloc[0]
    exceptions = known.exceptions["digital_phantom"]
    return compare(row, phantom.values, exceptions, force_2d=False, n_voxels=int(mask.array.sum()))


def _ending(family: Family, force_2d: bool) -> str:
    """What the tags of a family end in, by merging."""
    merging = family.slices if force_2d else family.volume
    return "" if merging is None else merging.tag


def _converted(value: float, exception: str | None, n_voxels: int) -> float:
    """The value by the standard's own definition."""
    if exception == "kurtosis_not_excess":
        return value - 3.0
    if exception == "axis_covariance_over_n":
        return value * math.sqrt(n_voxels / (n_voxels - 1))
    return value
